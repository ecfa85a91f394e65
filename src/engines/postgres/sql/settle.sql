-- The verb `settle`.

-- Most attempts complete, and change nothing but their own row: those are one update for the whole batch.
-- `at`: the moment of the call, by which all that it puts back and calls for is due in the order in which it was born.
create function settle_one(o outcome, at bigint) returns boolean language plpgsql as $$
declare
  t bigint;
  each runs;
  r runs;
begin
  -- The older first, as in meet(): an end may move the accepted result that it replaces.
  for each in select * from runs where key = o.key and place in (0, 1, o.aside) order by created_at, place desc for update loop
    if each.tail = o.tail then r := each; end if;
  end loop;
  if r.status is distinct from 1 or r.token <> o.token then
    if r.done = o.token then return true; end if;
    perform tally(0, 'outcomesRefused');
    return false;
  end if;
  t := now_ms();
  r.done := o.token;
  case o.kind
    when 'completed' then perform end_run(r, 2::smallint, o.value, t);
    when 'failed' then
      r.errors := appended(r.errors, o.value);
      perform end_run(r, 3::smallint, o.value, t);
    when 'cancelled' then
      r.errors := appended(r.errors, o.value);
      perform end_run(r, 4::smallint, o.value, t);
    when 'retry' then
      r.errors := appended(r.errors, o.value);
      perform requeue(r, at + o.delay);
      perform tally(0, 'retried');
    when 'released' then
      r.attempt := r.attempt - 1;
      if o.params is not null then update runs set params = o.params where key = r.key and place = r.place; end if;
      perform requeue(r, greatest(r.created_at, coalesce(o.due, r.due_at)));
  end case;
  if o."then" is not null then perform follow(draft, null, at) from json_array_elements(o."then") draft; end if;
  return true;
end $$;

create function settle(outcomes json, want json, address text, prefix text) returns json language plpgsql {{settings}} as $$
declare
  t bigint := now_ms();
  os outcome[];
  o outcome;
  done integer[];
  watched record;
  lost integer[] := '{}';
  next_done integer := 1;
begin
  select array_agg(each) into os from json_populate_recordset(null::outcome, outcomes) each;
  -- Where some will have to be looked at one by one, all are locked in the order of their keys before any is changed. That
  -- something was tied to a run when it was claimed, its token tells; what was tied to it since is worth a rare deadlock.
  if exists (select from unnest(os) n where n.kind <> 'completed' or n."then" is not null or n.token like '%+') then
    perform from unnest(os) n cross join lateral (
      select from runs where runs.key = n.key and runs.place in (0, 1, n.aside)
      order by runs.created_at, runs.place desc for update
    ) locked;
  end if;
  with settled as (
    update runs r set status = 2, token = null, done = n.token, lease_until = null, finished_at = t, result = n.value,
      fresh_until = greatest(t + r.result_ttl, r.started_at + r.every),
      stale_until = greatest(t + r.result_ttl, r.started_at + r.every) + r.stale_ttl,
      expires_at = greatest(greatest(t + r.result_ttl, r.started_at + r.every) + r.stale_ttl, t + r.retention)
    from unnest(os) n
    where n.first and n.kind = 'completed' and n."then" is null
      and r.key = n.key and r.place = 0 and r.tail = n.tail and r.token = n.token
      and not r.followed and not r.older and not r.has_next and r.attended is null
    returning n.ord, r.lane, r.watchers, n.key || n.tail as id
  ), counted as (
    insert into tallies
    select lane, 'running', -count(*) from settled group by lane
    union all select 0, 'completed', count(*) from settled having count(*) > 0
  ), told as (
    select tell_ended(watchers, array_agg(encode(id, 'hex'))) from settled where watchers is not null group by watchers
  )
  select array_agg(ord), (select count(*) from told), array_agg(distinct lane) as lanes into watched from settled;
  done := watched.array_agg;
  if exists (select from lanes where id = any(watched.lanes) and grp <> '') then
    perform make_room(lane, t, cardinality(done)) from unnest(watched.lanes) lane;
  end if;

  if done is null or cardinality(done) < cardinality(os) then
    foreach o in array os loop
      if done[next_done] = o.ord then next_done := next_done + 1;
      elsif not settle_one(o, t) then lost := lost || o.ord; end if;
    end loop;
  end if;
  if want is null then return json_build_object('lost', lost, 'claimed', '{}'::json[]); end if;
  return json_build_object('lost', lost, 'took', take(want, address, prefix));
end $$;
