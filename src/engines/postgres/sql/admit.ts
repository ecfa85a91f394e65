// The verb `admit` on the server. Most drafts are new and of one kind, and those are one insert; what has a fresh result is
// one look; the rest goes through the rules one by one, under the locks of what stands there.

import { REFRESH_PRIORITY } from '../../../contract/engine.ts'
import { supersededError } from '../../../contract/store-errors.ts'
import { SETTINGS } from './rules.ts'

// Numbers that stand for themselves mark where the server fills in its own.
const SUPERSEDED = supersededError(-111_111, -222_222, '@B')
  .replaceAll('-111111', '@A')
  .replaceAll('-222222', '@T')

const MEET = `
create function verdict(d ask, outcome text, r runs, same boolean default true, refresh_id text default null)
returns json language plpgsql as $$
begin
  return (select json_build_array(d.ord, outcome, same, refresh_id, standing(r, l)) from lanes l where l.id = r.lane);
end $$;

create function watch_run(r runs, address text) returns void language plpgsql as $$
begin
  update runs set watchers = watchers || address
  where key = r.key and place = r.place and status < 2 and address is not null
    and not coalesce(address = any(watchers), false);
end $$;

-- Due then, and of this priority at least. Answers its lane.
create function advance(r runs, due bigint, at_least integer, tx boolean) returns integer language plpgsql as $$
declare
  l lanes;
  counted text := case r.status when 1 then 'running' else 'pending' end;
  to_lane integer := r.lane;
begin
  select * into l from lanes where id = r.lane;
  if at_least > l.priority then
    to_lane := lane_of(l.name, l.queue, at_least, l.grp);
    insert into tallies values (r.lane, counted, -1), (to_lane, counted, 1);
  end if;
  if (due, to_lane) <> (r.due_at, r.lane) then
    update runs set due_at = due, lane = to_lane where key = r.key and place = r.place;
    if r.status = 0 and due < r.due_at then perform wake(to_lane, due, 1, tx); end if;
  end if;
  return to_lane;
end $$;

-- replacing: its due time becomes the draft's, be it later.
create function join_run(r runs, d ask, address text, t bigint, tx boolean, replacing boolean default false) returns runs language plpgsql as $$
declare
  joined runs := r;
begin
  if d.watch then perform watch_run(r, address); end if;
  if d."then" is not null then
    perform store_follow_ups(r.key, r.tail, d."then");
    joined.followed := true;
  end if;
  joined.retention := greatest(r.retention, d.retention);
  -- A run that waits for its next attempt keeps its back-off.
  if r.attempt = 0 then
    joined.due_at := due_of(d, t, r.created_at);
    if not replacing then joined.due_at := least(r.due_at, joined.due_at); end if;
  end if;
  if r.attended is not null then
    -- One who wants it kept keeps it for good.
    joined.attended := greatest(r.attended / 2, d.attended / 2) * 2 + (r.attended & d.attended & 1);
    if d.attended is null then joined.attended := null; end if;
    update runs set attended = joined.attended, attended_until = t + joined.attended / 2
    where key = r.key and place = r.place;
  end if;
  if (joined.followed, joined.retention) <> (r.followed, r.retention) then
    update runs set followed = joined.followed, retention = joined.retention where key = r.key and place = r.place;
  end if;
  joined.lane := advance(r, joined.due_at, d.priority, tx);
  return joined;
end $$;

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
  return replace(replace(replace('${SUPERSEDED}', '@A', r.attempt::text), '@T', t::text), '@B', encode(d.key || d.tail, 'hex'));
end $$;

create function create_behind(d ask, address text, t bigint) returns json language plpgsql as $$
begin
  update runs set has_next = true where key = d.key and place = 0;
  return verdict(d, 'created', create_run(d, lane_of(d.name, d.queue, d.priority, d.grp), null, false, address, t, true));
end $$;

-- A live run stands there, and no result answers. Null when another was faster, and is to be looked at.
create function meet_live(d ask, r runs, address text, t bigint, tx boolean) returns json language plpgsql as $$
declare
  met runs := r;
  n runs;
  created runs;
  earlier runs;
  rule text;
begin
  if d.on_pending is not null or d.on_running is not null then
    if r.has_next then select * into n from runs where key = d.key and status = -1 for update; end if;
    if d.on_running = 'rerunAfter' then
      if n.key is null and r.status = 1 then return create_behind(d, address, t); end if;
      if n.key is not null then met := n; end if;
    end if;
    rule := case when met.status = 1 then d.on_running else d.on_pending end;
  end if;
  case rule
    when 'reject' then
      perform tally(0, 'rejected');
      return verdict(d, 'rejected', met, d.mismatch is null or met.params = d.params);
    when 'supersede' then
      if n.key is not null then perform cancel_run(n, superseded_text(n, d, t), t); end if;
      if met.tail = n.tail then return create_behind(d, address, t); end if;
      select * into met from runs where key = d.key and place = 0;
      perform cancel_run(met, superseded_text(met, d, t), t);
      select * into met from runs where key = d.key and place = 0;
      select * into earlier from runs where key = d.key and place = 1;
      created := succeed_run(d, met, earlier, address, t, tx);
      if created.key is null then raise exception 'a run that was superseded has been succeeded' using errcode = '40001'; end if;
      return verdict(d, 'created', created);
    when 'replace' then
      update runs set params = d.params, extra = d.extra where key = met.key and place = met.place;
      perform tally(0, 'joined');
      return verdict(d, 'joined', join_run(met, d, address, t, tx, true));
    else
      perform tally(0, 'joined');
      return verdict(d, 'joined', join_run(met, d, address, t, tx), d.mismatch is null or met.params = d.params);
  end case;
end $$;

create function meet(d ask, address text, tx boolean) returns json language plpgsql as $$
declare
  t bigint;
  r runs;
  own runs;
  stands runs;
  earlier runs;
  usable runs;
  answering runs;
  created runs;
  refreshing ask;
  refresh_id text;
  live boolean;
  remembered boolean;
  same boolean;
begin
  for tries in 1..20 loop
    own := null; stands := null; earlier := null; usable := null; answering := null; refresh_id := null;
    -- The older first: whoever waited for a run that has been succeeded meanwhile holds the older, and goes on to the newer.
    for r in select * from runs where key = d.key and place in (0, 1, d.aside) order by created_at, place desc for update loop
      if r.tail = d.tail then own := r; end if;
      if r.place = 0 then stands := r; elsif r.place = 1 then earlier := r; end if;
    end loop;
    t := now_ms();
    if not coalesce(d.refresh, false) then
      if stands.status = 2 and stands.stale_until > t and stands.expires_at > t then usable := stands;
      elsif earlier.status = 2 and earlier.stale_until > t and earlier.expires_at > t then usable := earlier; end if;
    end if;

    if own.key is not null then
      if d.watch then perform watch_run(own, address); end if;
      if usable.key is null or usable.tail = own.tail then return verdict(d, 'created', own); end if;
      return verdict(d, 'stale', usable, true, encode(d.key || d.tail, 'hex'));
    end if;

    live := coalesce(stands.status < 2, false);
    remembered := coalesce(stands.status = 3 and remembered_until(stands) > t and stands.expires_at > t, false);
    if usable.key is not null then answering := usable;
    elsif live or (remembered and not coalesce(d.refresh, false)) then answering := stands; end if;

    if answering.key is null then
      created := succeed_run(d, stands, earlier, address, t, tx);
      continue when created.key is null;
      return verdict(d, 'created', created);
    end if;

    same := d.mismatch is null or answering.params = d.params;
    if not same and d.mismatch = 'reject' then
      perform tally(0, 'rejected');
      return verdict(d, 'rejected', answering, false);
    end if;
    if usable.key is null and live then return meet_live(d, stands, address, t, tx); end if;

    if usable.fresh_until <= t and live then
      refresh_id := encode(stands.key || stands.tail, 'hex');
    elsif usable.fresh_until <= t and not remembered then
      -- The draft's own follow-ups are answered with the stale result, and are not told twice.
      refreshing := d;
      refreshing."then" := null;
      refreshing.watch := false;
      refreshing.attended := null;
      refreshing.priority := least(d.priority, ${REFRESH_PRIORITY});
      created := succeed_run(refreshing, stands, earlier, address, t, tx);
      continue when created.key is null;
      refresh_id := encode(d.key || d.tail, 'hex');
    end if;
    if d."then" is not null then
      perform follow_if(body, answering,
        case answering.status when 2 then answering.result else answering.errors[cardinality(answering.errors)] end, t, tx)
      from json_array_elements(d."then") body;
    end if;
    if usable.key is null then
      perform tally(0, 'negative');
      return verdict(d, 'negative', answering, same);
    end if;
    if usable.fresh_until > t then
      perform tally(0, 'hit');
      return verdict(d, 'hit', usable, same);
    end if;
    perform tally(0, 'stale');
    return verdict(d, 'stale', usable, same, refresh_id);
  end loop;
  raise exception 'the key changes faster than it can be read' using errcode = '40001';
end $$;
`

const COLUMNS = `key, place, tail, lane, created_at, due_at, max_attempts, result_ttl, stale_ttl, failure_ttl, retention,
      every, attended, attended_until, followed, params, extra, watchers`

// Puts down what is new of drafts that differ in id and params alone.
const INSERT_ALIKE = `
    insert into runs (${COLUMNS})
    select n.key, 0, substr(ids, n.at + 32, 12), kind_lane, t, kind_due, kind.attempts, kind.result_ttl, kind.stale_ttl,
      kind.failure_ttl, kind.retention, coalesce(kind.every, 0), kind.attended, t + kind.attended / 2, false, n.params, kind.extra,
      case when kind.watch and address is not null then array[address] end
    from (
      select each as params, (i * 44 - 43)::integer as at, substr(ids, (i * 44 - 43)::integer, 32) as key
      from json_array_elements_text(admit.params) with ordinality given(each, i)
    ) n
    -- What has a run anywhere may have this one: that is to be looked at.
    where not exists (select from runs any_of where any_of.key = n.key)`

// Puts down what is new of `ds`; `made` are the ids of what it was, in order.
const INSERT_ASKED = `
    with fresh as (
      insert into runs (${COLUMNS})
      select n.key, 0, n.tail, l.id, t, greatest(t, least(coalesce(n.due, t + n.delay), t + n.most_delay)), n.attempts,
        n.result_ttl, n.stale_ttl, n.failure_ttl, n.retention, coalesce(n.every, 0), n.attended, t + n.attended / 2,
        n."then" is not null, n.params, n.extra, case when n.watch and address is not null then array[address] end
      from unnest(ds) n join lanes l
        on l.name = n.name and l.queue = n.queue and l.priority = n.priority and l.grp = coalesce(n.grp, '')
      where not exists (select from runs any_of where any_of.key = n.key)
      on conflict (key, place) do nothing
      returning key, tail, lane, due_at
    ), sums as (
      select lane, min(due_at) as due, count(*) as count from fresh group by lane
    ), counted as (
      insert into tallies
      select lane, 'pending', count from sums
      union all select 0, 'created', sum(count) from sums having count(*) > 0
    )
    select array_agg(key || tail order by key), (select count(wake(lane, due, count::integer, tx)) from sums) into made from fresh;`

// In: the drafts in order of their keys, so that two batches never wait for each other: their ids, 44 bytes each, their
// params, and their kinds, which is all the rest, in the same order; or one kind of them all.
// Out: the time, and an answer for each draft that is not newly created: of those the caller knows all there is.
const ADMIT = `
create function make_lanes(wanted json) returns void language plpgsql ${SETTINGS} as $$
begin
  perform lane_of(l->>0, l->>1, (l->>2)::integer, l->>3) from json_array_elements(wanted) l;
end $$;

create function asks(kinds json, ids bytea, params json) returns ask[] language plpgsql as $$
begin
  return (
    select array_agg((i - 1, n.key, n.tail, aside_of(n.tail), k.name, k.queue,
      k.priority, k.due, k.delay, k.most_delay, k.grp, k.attended, k.every, k.on_pending, k.on_running, k.attempts, k.result_ttl,
      k.stale_ttl, k.failure_ttl, k.retention, k.refresh, k.mismatch, k.watch, k.extra, n.params, k."then")::ask order by i)
    from (
      select i, given.params, coalesce(kind, kinds->0) as kind, substr(ids, (i * 44 - 43)::integer, 32) as key,
        substr(ids, (i * 44 - 11)::integer, 12) as tail
      from rows from (json_array_elements_text(params), json_array_elements(kinds)) with ordinality given(params, kind, i)
    ) n cross join lateral json_populate_record(null::ask, n.kind) k
  );
end $$;

create function admit(kinds json, hex text, params json, address text, tx boolean) returns json language plpgsql ${SETTINGS} as $$
declare
  t bigint := now_ms();
  ids bytea := decode(hex, 'hex');
  kind ask := json_populate_record(null::ask, kinds->0);
  kind_lane integer;
  kind_due bigint;
  put integer;
  ds ask[];
  d ask;
  made bytea[];
  hits json[];
  answers json[] := '{}';
  next_made integer := 1;
  next_hit integer := 1;
begin
  if json_array_length(kinds) = 1 and kind."then" is null then
    kind_lane := lane_of(kind.name, kind.queue, kind.priority, kind.grp);
    kind_due := greatest(t, least(coalesce(kind.due, t + kind.delay), t + kind.most_delay));
    if tx then
      ${INSERT_ALIKE} on conflict (key, place) do nothing;
      get diagnostics put = row_count;
    else
      -- To be ready for a conflict costs a tenth of all. Inside somebody's own transaction it is what costs least: each of
      -- these blocks would be one more part of that.
      begin
        ${INSERT_ALIKE};
        get diagnostics put = row_count;
      exception when unique_violation then
        ${INSERT_ALIKE} on conflict (key, place) do nothing;
        get diagnostics put = row_count;
      end;
    end if;
    if put > 0 then
      insert into tallies values (kind_lane, 'pending', put), (0, 'created', put);
      perform wake(kind_lane, kind_due, put, tx);
    end if;
    if put * 44 = length(ids) then return json_build_object('now', t, 'answers', answers); end if;
    ds := asks(kinds, ids, admit.params);
    select array_agg(n.key || n.tail order by n.key) into made from unnest(ds) n
    where put > 0 and exists (select from runs r where r.key = n.key and r.place = 0 and r.tail = n.tail and r.created_at = t);
  else
    ds := asks(kinds, ids, admit.params);
    perform lane_of(name, queue, priority, grp) from unnest(ds)
    where not exists (
      select from lanes l where (l.name, l.queue, l.priority, l.grp) = (unnest.name, unnest.queue, unnest.priority, coalesce(unnest.grp, ''))
    );
    ${INSERT_ASKED}
    perform store_follow_ups(key, tail, "then") from unnest(ds) where "then" is not null and key || tail = any(made);
    if cardinality(made) = cardinality(ds) then return json_build_object('now', t, 'answers', answers); end if;
  end if;

  select array_agg(json_build_array(h.ord, 'hit', h.mismatch is null or r.params = h.params, null, standing(r::runs, l)) order by h.key, h.ord)
  into hits
  from unnest(ds) h
  -- By its key and nothing else: an index of what has ended may look cheaper to the planner, and is not.
  cross join lateral (select * from runs where runs.key = h.key and runs.place in (0, 1) offset 0) r
  join lanes l on l.id = r.lane
  where r.status = 2 and r.fresh_until > t and r.expires_at > t and h."then" is null and not coalesce(h.refresh, false)
    and (h.mismatch is distinct from 'reject' or r.params = h.params)
    and not exists (
      select from (select tail from runs where runs.key = h.key and runs.place in (0, 1, h.aside) offset 0) own
      where own.tail = h.tail
    );
  if hits is not null then
    perform tally(0, 'hit', cardinality(hits));
    answers := hits;
  end if;

  -- All three are in order of their keys, so one pass tells what is left to be looked at more closely.
  foreach d in array ds loop
    if made[next_made] = d.key || d.tail then next_made := next_made + 1;
    elsif (hits[next_hit]->>0)::integer = d.ord then next_hit := next_hit + 1;
    else answers := answers || meet(d, address, tx); end if;
  end loop;
  return json_build_object('now', t, 'answers', answers);
end $$;
`

export const ADMISSION = MEET + ADMIT
