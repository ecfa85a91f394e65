-- A draft is given a run that succeeds or follows what stands under its key.

-- Null when another was faster, and is to be looked at.
create function succeed_run(d ask, stands runs, earlier runs, address text, t bigint, tx boolean) returns runs
language plpgsql as $$
declare
  r runs;
  has_older boolean := coalesce(earlier.stale_until > t and earlier.expires_at > t, false);
begin
  if stands.stale_until > t and stands.expires_at > t then
    update runs set place = aside_of(tail) where key = d.key and place = 1;
    update runs set place = 1 where key = d.key and place = 0;
    has_older := true;
  elsif stands.key is not null then
    if not has_older then update runs set place = aside_of(tail) where key = d.key and place = 1; end if;
    update runs set place = aside_of(tail) where key = d.key and place = 0;
  end if;
  r := create_run(d, lane_of(d.name, d.queue, d.priority, d.grp), null, has_older, address, t);
  if r.key is not null then perform wake(r.lane, r.due_at, 1, tx); end if;
  return r;
end $$;

create function superseded_text(r runs, d ask, t bigint) returns text language plpgsql as $$
begin
  return replace(replace(replace('{{superseded}}', '@A', r.attempt::text), '@T', t::text), '@B', encode(d.key || d.tail, 'hex'));
end $$;

create function create_behind(d ask, address text, t bigint) returns json language plpgsql as $$
begin
  update runs set has_next = true where key = d.key and place = 0;
  return verdict(d, 'created', create_run(d, lane_of(d.name, d.queue, d.priority, d.grp), null, false, address, t, true));
end $$;
