-- The verb `claim`.

-- Whoever found too little is put among those who wait, and looks once more soon after: what was being committed meanwhile has
-- not seen them wait. A row that is due but not to be had is locked by somebody, who may take long: it is told as due in 0 ms.
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
        select r.ctid, r.lane, r.due_at, r.born from runs r where r.lane = i and r.status = 0 and r.due_at <= t
        order by r.due_at, r.born limit left_over for update skip locked
      ) c order by c.due_at, c.born limit left_over
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
    select array_agg(entry(r::runs, l) order by r.due_at, r.born) into caught from taken r join lanes l on l.id = r.lane;
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

create function claim(want json, address text, prefix text) returns json language plpgsql {{settings}} as $$
begin
  return take(want, address, prefix);
end $$;
