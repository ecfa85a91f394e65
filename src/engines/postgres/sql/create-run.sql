-- A run is created, and its follow-ups are stored and admitted.

create function store_follow_ups(a_key bytea, a_tail bytea, follows json) returns void language plpgsql as $$
begin
  insert into follow_ups (key, tail, id, body)
  select a_key, a_tail, (b->'draft'->>'key') || (b->'draft'->>'tail'), b from json_array_elements(follows) b
  on conflict do nothing;
end $$;

-- When it is due, of a run that was made at that moment. All drafts of a batch are due by the moment of the batch, so that they
-- keep their order.
create function due_of(d ask, t bigint, made bigint) returns bigint language plpgsql as $$
begin
  return greatest(coalesce(d.at, t), least(coalesce(d.due, coalesce(d.at, t) + d.delay), made + d.most_delay));
end $$;

-- Null where another stands in its place, or where it has been created before.
create function create_run(d ask, a_lane integer, a_parent json, has_older boolean, address text, t bigint,
  behind boolean default false) returns runs
language plpgsql as $$
declare
  r runs;
begin
  if exists (select from runs where key = d.key and place = d.aside and tail = d.tail) then return null; end if;
  insert into runs (key, place, status, tail, lane, created_at, due_at, born, max_attempts, result_ttl, stale_ttl, failure_ttl,
    retention, every, attended, attended_until, followed, older, params, extra, parent, watchers)
  values (d.key, case when behind then d.aside else 0 end, case when behind then -1 else 0 end, d.tail, a_lane, t,
    due_of(d, t, coalesce(d.at, t)), coalesce(d.born, nextval('births')), d.attempts, d.result_ttl, d.stale_ttl, d.failure_ttl, d.retention, coalesce(d.every, 0), d.attended,
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
