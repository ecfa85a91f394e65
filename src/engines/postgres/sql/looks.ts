// The remaining verbs on the server: `cancel`, `promote`, `invalidate`, `read`, `list` and `count`.
import { SETTINGS } from './rules.ts'

const CANCEL = `
create function cancel(named json, reason text) returns json language plpgsql ${SETTINGS} as $$
declare
  t bigint;
  each named;
  r runs;
  answers text[] := '{}';
begin
  -- In order of the keys first, so that two batches never wait for each other.
  perform from (select * from json_populate_recordset(null::named, named) order by key) n cross join lateral (
    select from runs where runs.key = n.key and runs.place in (0, n.aside) order by created_at, place desc for update
  ) locked;
  t := now_ms();
  -- Then as they were given: what one end has called for may be the next to be cancelled.
  for each in select * from json_populate_recordset(null::named, named) order by ord loop
    select * into r from runs where key = each.key and place in (0, 1, each.aside) and tail = each.tail for update;
    if r.key is null or r.expires_at <= t then answers := answers || 'unknown'::text;
    elsif r.status = 4 then answers := answers || 'cancelled'::text;
    elsif r.status >= 2 then answers := answers || 'ended'::text;
    else
      perform cancel_run(r, reason, t);
      answers := answers || 'cancelled'::text;
    end if;
  end loop;
  return array_to_json(answers);
end $$;
`

const HASTEN = `
create function promote(named json, at_least integer) returns json language plpgsql ${SETTINGS} as $$
declare
  t bigint;
  each named;
  r runs;
  l lanes;
  answers text[] := '{}';
begin
  perform from (select * from json_populate_recordset(null::named, named) order by key) n cross join lateral (
    select from runs where runs.key = n.key and runs.place in (0, n.aside) order by created_at, place desc for update
  ) locked;
  t := now_ms();
  for each in select * from json_populate_recordset(null::named, named) order by ord loop
    select * into r from runs where key = each.key and place in (0, 1, each.aside) and tail = each.tail for update;
    if r.key is null or r.expires_at <= t then answers := answers || 'unknown'::text;
    elsif r.status >= 2 then answers := answers || 'ended'::text;
    elsif r.status = 1 then answers := answers || 'running'::text;
    else
      perform advance(r, least(r.due_at, t), at_least, false);
      answers := answers || 'due'::text;
    end if;
  end loop;
  return array_to_json(answers);
end $$;
`

// Moved aside, so that nothing finds it by its key. A pending run stays: it has not looked at anything yet.
const INVALIDATE = `
create function forget_key(a_key bytea) returns boolean language plpgsql as $$
declare
  t bigint;
  r runs;
  stood boolean := true;
  forgot boolean := false;
  next_of runs;
begin
  for r in select * from runs where key = a_key and place in (0, 1) order by created_at, place desc for update loop
    t := now_ms();
    if r.status = 2 and r.stale_until > t and r.expires_at > t then
      update runs set fresh_until = least(fresh_until, t), stale_until = t, place = aside_of(tail)
      where key = a_key and place = r.place;
      forgot := true;
    elsif r.place = 0 and (r.status = 1
      or r.status = 3 and remembered_until(r) > t and r.expires_at > t) then
      update runs set place = aside_of(tail), has_next = false where key = a_key and place = 0;
      if r.has_next then
        r.place := aside_of(r.tail);
        next_of := r;
      end if;
      forgot := true;
    elsif r.place = 1 then
      update runs set place = aside_of(tail) where key = a_key and place = 1;
    end if;
  end loop;
  -- Once the accepted result is out of the way as well.
  if next_of.key is not null then perform advance_next(next_of, now_ms()); end if;
  return forgot;
end $$;

create function invalidate(keys json, channel text, news json) returns integer language plpgsql ${SETTINGS} as $$
begin
  perform pg_notify(channel, 'invalidated ' || (each #>> '{}')) from json_array_elements(news) each;
  return (select count(*) from (
    select forget_key(decode(key, 'hex')) as forgot from json_array_elements_text(keys) key
  ) each where forgot);
end $$;

-- One step through all runs of a name: what runs first, then what has ended, lane by lane in order of its expiry.
create function invalidate_name(a_name text, channel text, news json, after_lane integer, after_expiry bigint, before bigint,
  most integer)
returns json language plpgsql ${SETTINGS} as $$
declare
  t bigint := now_ms();
  found_keys bytea[];
  lane_id integer := after_lane;
  expiry bigint := after_expiry;
  forgotten text[];
begin
  perform pg_notify(channel, 'invalidated ' || (each #>> '{}')) from json_array_elements(news) each;
  if after_lane = 0 then
    select array_agg(r.key) into found_keys from lanes l join runs r on r.lane = l.id and r.status = 1
    where l.name = a_name and r.place = 0;
    select min(id) into lane_id from lanes where name = a_name;
    expiry := t;
  else
    select array_agg(key), max(expires_at) into found_keys, expiry from (
      select key, place, expires_at from runs
      where lane = after_lane and status >= 2 and expires_at > after_expiry and finished_at <= before
      order by expires_at fetch first most rows with ties
    ) page;
    if expiry is null then
      select min(id) into lane_id from lanes where name = a_name and id > after_lane;
      expiry := t;
    end if;
  end if;
  select array_agg(encode(key, 'hex')) into forgotten
  from (select distinct key from unnest(found_keys) key order by key) each where forget_key(key);
  return json_build_object('forgotten', coalesce(forgotten, '{}'), 'lane', lane_id, 'expiry', expiry,
    'before', coalesce(before, t));
end $$;
`

const LOOKS = `
create function read_runs(named json, address text) returns json language plpgsql ${SETTINGS} as $$
declare
  n named;
  answers json;
  asked_for boolean;
begin
  if address is not null then
    for n in select * from json_populate_recordset(null::named, named) order by key loop
      update runs r set watchers = r.watchers || address
      where r.key = n.key and r.place in (0, n.aside) and (r.tail = n.tail or n.tail is null) and r.status < 2
        and not coalesce(address = any(r.watchers), false);
    end loop;
  end if;
  select json_agg(json_build_array(a.ord, entry(r::runs, l))), bool_or(r.attended is not null) into answers, asked_for
  from json_populate_recordset(null::named, named) a
  cross join lateral (select * from runs where runs.key = a.key and runs.place in (0, 1, a.aside) offset 0) r
  join lanes l on l.id = r.lane
  where (r.tail = a.tail or a.tail is null and r.place = 0) and (r.expires_at is null or r.expires_at > now_ms());
  if asked_for then
    -- In order of the keys, so that two reads never wait for each other.
    for n in select * from json_populate_recordset(null::named, named) order by key loop
      update runs r set attended_until = now_ms() + r.attended / 2
      where r.key = n.key and r.place in (0, n.aside) and (r.tail = n.tail or n.tail is null and r.place = 0)
        and r.attended is not null;
    end loop;
  end if;
  return answers;
end $$;

create function list_runs(filter json, after_key bytea, after_place bigint, most integer, looked_at integer) returns json
language plpgsql stable ${SETTINGS} as $$
begin return (
  with page as materialized (
    select * from runs where (key, place) > (after_key, after_place) order by key, place limit looked_at
  ), matching as materialized (
    select entry(p::runs, l) as entry, p.key, p.place
    from page p join lanes l on l.id = p.lane
    where (p.expires_at is null or p.expires_at > now_ms())
      and coalesce(greatest(p.status, 0) = (filter->>'status')::smallint, true)
      and coalesce(l.name = filter->>'name', true) and coalesce(l.queue = filter->>'queue', true)
    order by p.key, p.place limit most
  ), last as (
    (select key, place from matching where (select count(*) from matching) = most order by key desc, place desc limit 1)
    union all
    (select key, place from page where (select count(*) from matching) < most and (select count(*) from page) = looked_at
     order by key desc, place desc limit 1)
  )
  select json_build_object('entries', coalesce((select json_agg(entry) from matching), '[]'),
    'cursor', (select encode(key, 'hex') || ':' || place from last))
); end $$;

create function counts() returns json language plpgsql stable ${SETTINGS} as $$
begin return (
  with sums as (select lane, kind, sum(count) as count from tallies group by lane, kind)
  select json_build_object(
    'lanes', (
      select coalesce(json_agg(json_build_object('queue', queue, 'name', name, 'pending', pending, 'running', running)), '[]')
      from (
        select l.queue, l.name, coalesce(sum(s.count) filter (where s.kind = 'pending'), 0) as pending,
          coalesce(sum(s.count) filter (where s.kind = 'running'), 0) as running
        from sums s join lanes l on l.id = s.lane group by l.queue, l.name
      ) each where pending > 0 or running > 0
    ),
    'paused', (
      select coalesce(json_agg(json_build_object(case kind when 'q' then 'queue' else 'name' end, value)), '[]') from paused
    ),
    'totals', (select coalesce(json_object_agg(kind, count), '{}') from sums where lane = 0)
  )
); end $$;
`

// Whoever claims has read what is paused, and keeps this from its lock until it commits: after this, none gives out any more.
const PAUSE = `
create function pause(a_kind text, a_value text, is_paused boolean) returns void language plpgsql ${SETTINGS} as $$
begin
  lock table paused in access exclusive mode;
  if is_paused then
    insert into paused values (a_kind, a_value) on conflict do nothing;
    return;
  end if;
  delete from paused where kind = a_kind and value = a_value;
  perform wake(l.id, now_ms(), 8) from lanes l
  where case a_kind when 'q' then l.queue else l.name end = a_value
    and exists (select from runs r where r.lane = l.id and r.status = 0);
end $$;
`

export const LOOK_AND_FORGET = CANCEL + HASTEN + INVALIDATE + PAUSE + LOOKS
