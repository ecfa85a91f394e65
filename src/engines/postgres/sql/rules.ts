// What all verbs share on the server: how a run is shown, created, moved aside and ended, and who is told. In PL/pgSQL,
// because it keeps its plans: a function in SQL that can't be inlined is parsed and planned at each call.

// No plan may depend on statistics that were taken while the store was empty, or the first hour would be read row by row.
/** What stands behind the functions that are called from outside; those within inherit it. */
export const SETTINGS = `
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set enable_bitmapscan = off set enable_material = off set jit = off set lock_timeout = '4s'`

const SHOWN = `
create function now_ms() returns bigint language sql volatile as $$
  select (extract(epoch from clock_timestamp()) * 1000)::bigint
$$;

create function aside_of(tail bytea) returns bigint language sql immutable as $$
  select 2 + ('x' || encode(substr(tail, 1, 6), 'hex'))::bit(48)::bigint
$$;

create function standing(r runs, l lanes) returns json language sql stable as $$
  select json_build_array(encode(r.key || r.tail, 'hex'), l.name, l.queue, greatest(r.status, 0), l.priority, r.attempt, r.created_at,
    r.due_at, r.started_at, r.finished_at, r.progress, r.result, r.fresh_until, r.stale_until, r.errors)
$$;

create function entry(r runs, l lanes) returns json language sql stable as $$
  select json_build_array(encode(r.key || r.tail, 'hex'), l.name, l.queue, greatest(r.status, 0), l.priority, r.attempt, r.created_at,
    r.due_at, r.started_at, r.finished_at, r.progress, r.result, r.fresh_until, r.stale_until, r.errors,
    r.params, r.max_attempts, r.result_ttl, r.stale_ttl, r.failure_ttl, r.retention, r.extra, r.parent, r.token,
    r.every, l.grp)
$$;
`

const COUNTED = `
-- No group is the empty text; a group, which may be empty too, has a colon before it.
create function lane_of(a_name text, a_queue text, a_priority integer, a_grp text default null) returns integer language plpgsql as $$
declare
  found_id integer;
begin
  loop
    select id into found_id from lanes where name = a_name and queue = a_queue and priority = a_priority and grp = coalesce(a_grp, '');
    if found then return found_id; end if;
    insert into lanes (name, queue, priority, grp) values (a_name, a_queue, a_priority, coalesce(a_grp, ''))
    on conflict do nothing;
  end loop;
end $$;

create function tally(lane integer, kind text, count bigint default 1) returns void language plpgsql as $$
begin
  insert into tallies values ($1, $2, $3);
end $$;
`

// Whoever waits is told by one of those who bring work, in the order in which they come: the others pass by the row that is
// locked. What is done inside somebody's own transaction (`tx`) locks nothing, since that may last: then all who wait are told.
const TOLD = `
create function channel(address text) returns text language sql immutable as $$ select 'deferq:' || address $$;

create function wake(a_lane integer, due bigint, count integer, tx boolean default false) returns void language plpgsql as $$
declare
  l lanes;
begin
  if not exists (select from waits where waiting) then return; end if;
  select * into l from lanes where id = a_lane;
  if tx then
    perform pg_notify(channel(address), 'work') from waits
    where waiting and next_due > due and l.name = any(names) and (queues is null or l.queue = any(queues));
    return;
  end if;
  with woken as (
    update waits set waiting = false where ctid = any(array(
      select ctid from waits
      where waiting and next_due > due and l.name = any(names) and (queues is null or l.queue = any(queues))
      limit least(count, 8) for update skip locked
    )) returning address
  )
  select count(pg_notify(channel(address), 'work')) into count from woken;
end $$;

-- So many attempts are over: whoever waits, for whichever queue, may take as many of their group.
create function make_room(a_lane integer, t bigint, count integer default 1) returns void language plpgsql as $$
begin
  perform wake(o.id, t, make_room.count) from lanes l join lanes o on o.name = l.name and o.grp = l.grp
  where l.id = a_lane and l.grp <> '' and exists (select from runs r where r.lane = o.id and r.status = 0);
end $$;

create function tell_ended(watchers text[], ids text[]) returns void language plpgsql as $$
begin
  perform pg_notify(channel(who), 'ended ' || string_agg(ids[at], ' '))
  from unnest(watchers) who cross join generate_subscripts(ids, 1) at
  group by who, at / 80;
end $$;
`

const LIVED = `
create function store_follow_ups(a_key bytea, a_tail bytea, follows json) returns void language plpgsql as $$
begin
  insert into follow_ups (key, tail, id, body)
  select a_key, a_tail, (b->'draft'->>'key') || (b->'draft'->>'tail'), b from json_array_elements(follows) b
  on conflict do nothing;
end $$;

-- When it is due, of a run that was made at that moment.
create function due_of(d ask, t bigint, made bigint) returns bigint language plpgsql as $$
begin
  return greatest(t, least(coalesce(d.due, t + d.delay), made + d.most_delay));
end $$;

-- Null where another stands in its place, or where it has been created before.
create function create_run(d ask, a_lane integer, a_parent json, has_older boolean, address text, t bigint,
  behind boolean default false) returns runs
language plpgsql as $$
declare
  r runs;
begin
  if exists (select from runs where key = d.key and place = d.aside and tail = d.tail) then return null; end if;
  insert into runs (key, place, status, tail, lane, created_at, due_at, max_attempts, result_ttl, stale_ttl, failure_ttl,
    retention, every, attended, attended_until, followed, older, params, extra, parent, watchers)
  values (d.key, case when behind then d.aside else 0 end, case when behind then -1 else 0 end, d.tail, a_lane, t,
    due_of(d, t, t), d.attempts, d.result_ttl, d.stale_ttl, d.failure_ttl, d.retention, coalesce(d.every, 0), d.attended,
    t + d.attended / 2, d."then" is not null, has_older, d.params, d.extra, a_parent,
    case when d.watch and address is not null then array[address] end)
  on conflict (key, place) do nothing
  returning * into r;
  if found then
    if d."then" is not null then perform store_follow_ups(d.key, d.tail, d."then"); end if;
    insert into tallies values (a_lane, 'pending', 1), (0, 'created', 1);
  end if;
  return r;
end $$;

create function follow(draft json, a_parent json, t bigint, tx boolean default false) returns void language plpgsql as $$
declare
  d ask := json_populate_record(null::ask, draft);
  r runs;
begin
  r := create_run(d, lane_of(d.name, d.queue, d.priority, d.grp), a_parent, false, null, t);
  if r.key is not null then perform wake(r.lane, r.due_at, 1, tx); end if;
end $$;

create function parent_from(r runs, value text) returns json language plpgsql as $$
begin
  return json_strip_nulls(json_build_object('id', encode(r.key || r.tail, 'hex'),
    'name', (select name from lanes where id = r.lane),
    'status', case r.status when 2 then 'completed' when 3 then 'failed' else 'cancelled' end, 'value', value));
end $$;

create function follow_if(body json, r runs, value text, t bigint, tx boolean default false) returns void language plpgsql as $$
begin
  if body->>'on' <> 'both' and (body->>'on' = 'success') <> (r.status = 2) then return; end if;
  perform follow(body->'draft',
    case when (body->>'sameParent')::boolean and r.parent is not null then r.parent else parent_from(r, value) end, t, tx);
end $$;

-- The run has ended, or is no longer what stands there: the one behind it comes forward.
create function advance_next(r runs, t bigint) returns void language plpgsql as $$
declare
  n runs;
  has_older boolean := false;
begin
  select * into n from runs where key = r.key and status = -1 for update;
  if not found then return; end if;
  if r.place = 0 then
    if r.status = 2 and r.stale_until > t then
      update runs set place = aside_of(tail) where key = r.key and place = 1;
      update runs set place = 1 where key = r.key and place = 0;
      has_older := true;
    else
      update runs set place = aside_of(tail)
      where key = r.key and place = 1 and not (stale_until > t and expires_at > t);
      update runs set place = aside_of(tail) where key = r.key and place = 0;
      has_older := exists (select from runs where key = r.key and place = 1);
    end if;
  end if;
  update runs set status = 0, place = 0, older = has_older where key = r.key and place = n.place;
  perform wake(n.lane, n.due_at, 1);
end $$;

-- value: the result, or the last error, which has been appended already.
create function end_run(r runs, to_status smallint, value text, t bigint) returns void language plpgsql as $$
declare
  ended runs;
  body json;
begin
  perform tally(r.lane, case r.status when 1 then 'running' else 'pending' end, -1);
  perform tally(0, case to_status when 2 then 'completed' when 3 then 'failed' else 'cancelled' end);
  update runs set status = to_status, token = null, done = r.done, lease_until = null, finished_at = t, errors = r.errors,
    followed = false, older = false, has_next = false, attended = null, attended_until = null,
    result = case when to_status = 2 then value end,
    fresh_until = case when to_status = 2 then case place when 0 then greatest(t + result_ttl, started_at + every) else t end end,
    stale_until = case when to_status = 2 then
      case place when 0 then greatest(t + result_ttl, started_at + every) + stale_ttl else t end end,
    expires_at = greatest(t + retention, case
      when to_status = 2 and place = 0 then greatest(t + result_ttl, started_at + every) + stale_ttl
      when to_status = 3 then greatest(t + failure_ttl, started_at + every) else 0 end)
  where key = r.key and place = r.place returning * into ended;
  if r.older and ended.place = 0 and to_status = 2 then
    update runs set place = aside_of(tail) where key = r.key and place = 1;
  end if;
  if r.watchers is not null then perform tell_ended(r.watchers, array[encode(r.key || r.tail, 'hex')]); end if;
  if r.followed then
    for body in
      with told as (delete from follow_ups where key = r.key and tail = r.tail returning *)
      select told.body from told order by seq
    loop
      perform follow_if(body, ended, value, t);
    end loop;
  end if;
  if r.status = 1 then perform make_room(r.lane, t); end if;
  if r.has_next then perform advance_next(ended, t); end if;
end $$;

-- Ends what is pending or running, for all who wait for it.
create function cancel_run(r runs, reason text, t bigint) returns void language plpgsql as $$
begin
  -- A token begins with the address of its worker.
  if r.status = 1 then
    perform pg_notify(channel(split_part(r.token, '.', 1)), 'cancelled ' || encode(r.key || r.tail, 'hex'));
  end if;
  if reason is not null then r.errors := appended(r.errors, reason); end if;
  perform end_run(r, 4::smallint, reason, t);
end $$;

-- Of a failed run.
create function remembered_until(r runs) returns bigint language sql immutable as $$
  select greatest(r.finished_at + r.failure_ttl, r.started_at + r.every)
$$;

create function requeue(r runs, a_due bigint) returns void language plpgsql as $$
begin
  update runs set status = 0, due_at = a_due, attempt = r.attempt, token = null, done = r.done, lease_until = null,
    errors = r.errors
  where key = r.key and place = r.place;
  insert into tallies values (r.lane, 'running', -1), (r.lane, 'pending', 1);
  perform wake(r.lane, a_due, 1);
  perform make_room(r.lane, now_ms());
end $$;

create function appended(errors text[], error text) returns text[] language sql immutable as $$
  select (errors || error)[greatest(1, cardinality(errors) - 8):]
$$;
`

export const RULES = SHOWN + COUNTED + TOLD + LIVED
