// The verbs of a worker on the server: `claim`, `settle`, `extend` and `sweep`.
import { abandonedError } from '../../../contract/store-errors.ts'
import { SETTINGS } from './rules.ts'
import { TURNS } from './turns.ts'

const ABANDONED = abandonedError(-111_111, -222_222).replaceAll('-111111', '@A').replaceAll('-222222', '@T')

// Whoever found too little is put among those who wait, and looks once more soon after: what was being committed meanwhile has
// not seen them wait. A row that is due but not to be had is locked by somebody, who may take long: it is told as due in 0 ms.
const CLAIM = `
create function take(want json, address text, prefix text) returns json language plpgsql as $$
declare
  t bigint := now_ms();
  wanted text[] := array(select json_array_elements_text(want->'names'));
  from_queues text[];
  left_over integer := (want->>'limit')::integer;
  same_priority integer[];
  caught json[];
  claimed json[] := '{}';
  next_due bigint;
  began boolean := false;
  -- A record counts as null as soon as a part of it is.
  in_turns boolean := false;
  turns record;
  held integer[] := '{}';
  opens bigint;
begin
  if want->'queues' is not null then from_queues := array(select json_array_elements_text(want->'queues')); end if;
  -- Half of what is wanted of groups first, so that neither they nor the others wait for ever.
  if left_over > 0 and exists (select from lanes where name = any(wanted) and grp <> '') then
    turns := take_in_turns(want, wanted, from_queues, (left_over + 1) / 2, prefix, t);
    in_turns := true;
    claimed := turns.caught;
    left_over := left_over - cardinality(claimed);
  end if;
  for same_priority in
    select array_agg(id) from lanes
    where name = any(wanted) and grp = '' and (from_queues is null or queue = any(from_queues))
      and not exists (select from paused p where p.kind = 'n' and p.value = name or p.kind = 'q' and p.value = queue)
    group by priority order by priority desc
  loop
    exit when left_over <= 0;
    with picked as (
      select c.ctid as row_id, c.lane as from_lane from unnest(same_priority) i cross join lateral (
        select r.ctid, r.lane, r.due_at from runs r where r.lane = i and r.status = 0 and r.due_at <= t
        order by r.due_at limit left_over for update skip locked
      ) c order by c.due_at limit left_over
    ), taken as (
      update runs set status = 1, attempt = attempt + 1, token = prefix || encode(tail, 'hex') || 
        case when followed or older or has_next or attended is not null then '+' else '' end, started_at = t,
        lease_until = t + (want->>'leaseMs')::bigint
      where ctid = any(array(select row_id from picked))
      returning *
    ), counted as (
      insert into tallies
      select lane, kind, sign * count(*) from taken cross join (values ('pending', -1), ('running', 1)) k(kind, sign)
      group by lane, kind, sign
    )
    select array_agg(entry(r::runs, l) order by r.due_at) into caught from taken r join lanes l on l.id = r.lane;
    if caught is not null then
      claimed := claimed || caught;
      left_over := left_over - cardinality(caught);
      exit when left_over <= 0;
    end if;
  end loop;

  if in_turns and left_over > 0 then
    turns := take_in_turns(want, wanted, from_queues, left_over, prefix, t);
    claimed := claimed || turns.caught;
    left_over := left_over - cardinality(turns.caught);
    held := turns.held;
    opens := turns.opens;
  end if;

  if left_over > 0 then
    select min(r.due_at) into next_due from lanes l cross join lateral (
      select due_at from runs where lane = l.id and status = 0 order by due_at limit 1
    ) r where l.name = any(wanted) and (from_queues is null or l.queue = any(from_queues)) and not l.id = any(held)
      and not exists (select from paused p where p.kind = 'n' and p.value = l.name or p.kind = 'q' and p.value = l.queue);
    next_due := least(next_due, opens);
    if address is not null then
      insert into waits as w values (address, want->>'name', true, coalesce(next_due, 9e15), t, wanted, from_queues)
      on conflict on constraint waits_pkey do update
        set waiting = true, next_due = excluded.next_due, seen_at = t
        where not w.waiting or w.next_due <> excluded.next_due;
      began := found;
    end if;
  elsif (want->>'limit')::integer = 0 then
    update waits w set waiting = false
    where w.address = take.address and w.wanted = want->>'name';
  end if;
  return json_build_object('claimed', claimed, 'nextDueMs',
    case when next_due <= t then 0 when began then 10 when next_due is not null then greatest(next_due - t, 20) end);
end $$;

create function claim(want json, address text, prefix text) returns json language plpgsql ${SETTINGS} as $$
begin
  return take(want, address, prefix);
end $$;
`

// Most attempts complete, and change nothing but their own row: those are one update for the whole batch.
const SETTLE = `
create function settle_one(o outcome) returns boolean language plpgsql as $$
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
      perform requeue(r, t + o.delay);
      perform tally(0, 'retried');
    when 'released' then
      r.attempt := r.attempt - 1;
      if o.params is not null then update runs set params = o.params where key = r.key and place = r.place; end if;
      perform requeue(r, coalesce(o.due, r.due_at));
  end case;
  if o."then" is not null then perform follow(draft, null, t) from json_array_elements(o."then") draft; end if;
  return true;
end $$;

create function settle(outcomes json, want json, address text, prefix text) returns json language plpgsql ${SETTINGS} as $$
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
      elsif not settle_one(o) then lost := lost || o.ord; end if;
    end loop;
  end if;
  if want is null then return json_build_object('lost', lost, 'claimed', '{}'::json[]); end if;
  return json_build_object('lost', lost, 'took', take(want, address, prefix));
end $$;
`

const LEASES = `
create function extend(leases json, lease_ms bigint) returns json language plpgsql ${SETTINGS} as $$
declare
  asked named[];
  held integer[];
  answers json;
begin
  select array_agg(each) into asked from json_populate_recordset(null::named, leases) each;
  -- Under its key first, and what is not there aside: each is one row of the index.
  with here as (
    update runs r set lease_until = now_ms() + lease_ms, progress = coalesce(a.progress, r.progress)
    from unnest(asked) a where r.key = a.key and r.place = 0 and r.tail = a.tail and r.token = a.token
    returning a.ord
  ), aside as (
    update runs r set lease_until = now_ms() + lease_ms, progress = coalesce(a.progress, r.progress)
    from unnest(asked) a where r.key = a.key and r.place = a.aside and r.tail = a.tail and r.token = a.token
    returning a.ord
  )
  select array_agg(ord) into held from (select ord from here union all select ord from aside) both_of_them;
  select json_agg(json_build_array(a.ord, case
    when a.ord = any(held) then 'held'
    when exists (
      select from (select * from runs where key = a.key and place in (0, 1, a.aside) offset 0) r
      where r.tail = a.tail and r.status = 4
    ) then 'cancelled' else 'lost' end))
  into answers from unnest(asked) a;
  return answers;
end $$;

-- In: the error of a lost lease, with @A for the attempt and @T for the time.
create function sweep(most integer, template text) returns json language plpgsql ${SETTINGS} as $$
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
    perform cancel_run(r, replace(replace('${ABANDONED}', '@A', r.attempt::text), '@T', t::text), t);
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

-- What any number of sweepers may skip as long as one of them does it, now and then.
create function tidy() returns void language plpgsql ${SETTINGS} as $$
begin
  if not pg_try_advisory_xact_lock(hashtextextended(current_schema() || ' tidy', 0)) then return; end if;
  if (select count(*) from (select from tallies limit 1000) first) = 1000 then
    with added as (delete from tallies returning *)
    insert into tallies select lane, kind, sum(count) from added group by lane, kind having sum(count) <> 0;
  end if;
  delete from waits where seen_at < now_ms() - 86400000;
  if (select count(*) from (select from lanes limit 1000) first) = 1000 then perform drop_lanes(); end if;
end $$;

-- So that a queue per customer does not leave a lane for every customer there ever was. Whoever has looked up a lane and not
-- committed yet keeps this from getting its lock; it is done another time then.
create function drop_lanes() returns void language plpgsql as $$
begin
  lock table lanes in access exclusive mode nowait;
  delete from lanes l where not exists (select from runs r where r.lane = l.id and r.status = 0)
    and not exists (select from runs r where r.lane = l.id and r.status = 1)
    and not exists (select from runs r where r.lane = l.id and r.status = -1)
    and not exists (select from runs r where r.lane = l.id and r.status >= 2);
exception when lock_not_available then null;
end $$;
`

export const WORK = TURNS + CLAIM + SETTLE + LEASES
