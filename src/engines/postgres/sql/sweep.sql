-- The verb `sweep`.

-- In: the error of a lost lease, with @A for the attempt and @T for the time.
create function sweep(most integer, template text) returns json language plpgsql {{settings}} as $$
declare
  t bigint := now_ms();
  r runs;
  error text;
  requeued text[] := '{}';
  failed text[] := '{}';
  abandoned text[] := '{}';
  lapsed runs[];
  expired integer := 0;
  removed bytea[];
begin
  for r in
    select runs.* from lanes l join runs on runs.lane = l.id and runs.status = 1
    where runs.lease_until <= t limit most for update of runs skip locked
  loop
    error := replace(replace(template, '@A', r.attempt::text), '@T', t::text);
    r.errors := appended(r.errors, error);
    -- Only a token that settled something is answered again; this one was taken away.
    perform tally(0, 'leasesLost');
    if r.attempt >= r.max_attempts then
      perform end_run(r, 3::smallint, error, t);
      failed := failed || encode(r.key || r.tail, 'hex');
    else
      perform requeue(r, t);
      requeued := requeued || encode(r.key || r.tail, 'hex');
    end if;
  end loop;

  -- Read anew one by one: the end of one may bring another forward that stands in the list as well.
  lapsed := array(
    select runs from runs where attended_until <= t and (status <> 1 or attended & 1 = 1)
    order by attended_until limit most for update skip locked
  );
  foreach r in array lapsed loop
    select * into r from runs where key = r.key and place in (0, 1, aside_of(r.tail)) and tail = r.tail and attended is not null
    for update;
    continue when not found;
    perform cancel_run(r, replace(replace('{{abandoned}}', '@A', r.attempt::text), '@T', t::text), t);
    abandoned := abandoned || encode(r.key || r.tail, 'hex');
  end loop;
  delete from groups where ctid = any(array(select ctid from groups where idle_at <= t limit most for update skip locked));

  with gone as (
    delete from runs where ctid = any(array(
      select e.ctid from lanes l cross join lateral (
        select old.ctid from runs old where old.lane = l.id and old.status >= 2 and old.expires_at <= t
        order by old.expires_at limit most for update skip locked
      ) e limit most
    )) returning key, place
  )
  select count(*), array_agg(key order by key) filter (where place = 0) into expired, removed from gone;
  -- An accepted result is never alone: it stands there again.
  update runs set place = 0 where key = any(removed) and place = 1;
  return json_build_object('requeued', requeued, 'failed', failed, 'abandoned', abandoned, 'removed', expired);
end $$;
