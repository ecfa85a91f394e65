-- The groups of names: how much room each has, and whose turn it is.

-- Groups: whoever claims of one locks its row, so that what it counts is still so when it commits; a row that another holds
-- is passed over. How many run is counted where they lie, and can't drift.
create function room_of(g groups, lanes_of integer[], rule json, t bigint) returns bigint language plpgsql as $$
declare
  room bigint := 9e15;
  most integer := (rule->'rate'->>'max')::integer;
  after bigint := t - (rule->'rate'->>'perMs')::bigint;
begin
  if rule->>'running' is not null then
    select (rule->>'running')::bigint - count(*) into room from unnest(lanes_of) i
    cross join lateral (select from runs where lane = i and status = 1) running;
  end if;
  if most is not null then room := least(room, most - (select count(*) from unnest(g.began) b where b > after)); end if;
  return room;
end $$;

-- The groups of the wanted names take turns, the one first that was served longest ago. Out: what was claimed, when a rate
-- opens, and the lanes that are held back.
create function take_in_turns(want json, wanted text[], from_queues text[], most integer, prefix text, t bigint,
  out caught json[], out opens bigint, out held integer[]) language plpgsql as $$
declare
  each record;
  g groups;
  rule json;
  free bigint;
  names text[] := '{}';
  grps text[] := '{}';
  rooms bigint[] := '{}';
  taken record;
begin
  caught := '{}';
  held := '{}';
  for each in
    select l.name, l.grp, (select array_agg(a.id) from lanes a where a.name = l.name and a.grp = l.grp) as ids
    from lanes l left join groups s on s.name = l.name and s.grp = l.grp
    where l.name = any(wanted) and l.grp <> '' and (from_queues is null or l.queue = any(from_queues))
      and not exists (select from paused p where p.kind = 'n' and p.value = l.name or p.kind = 'q' and p.value = l.queue)
      and exists (select from runs r where r.lane = l.id and r.status = 0 and r.due_at <= t)
    group by l.name, l.grp, s.served order by coalesce(s.served, 0)
  loop
    rule := want->'limits'->each.name;
    insert into groups (name, grp, idle_at) values (each.name, each.grp, t + 60000) on conflict do nothing;
    select * into g from groups where name = each.name and grp = each.grp for update skip locked;
    continue when not found;
    free := room_of(g, each.ids, rule, t);
    if free > 0 then
      names := names || each.name;
      grps := grps || each.grp;
      rooms := rooms || free;
    else
      held := held || each.ids;
      if rule->'rate' is not null then
        opens := least(opens, g.began[cardinality(g.began) - (rule->'rate'->>'max')::integer + 1] + (rule->'rate'->>'perMs')::bigint);
      end if;
    end if;
    exit when cardinality(names) >= 4 * most;
  end loop;
  if cardinality(names) = 0 then return; end if;

  with ready as (
    select o.at, c.row_id, c.key, c.tail, o.room,
      row_number() over (partition by o.at order by c.priority desc, c.due_at, c.born) as turn
    from unnest(names, grps, rooms) with ordinality o(name, grp, room, at)
    cross join lateral (
      select r.*, l.priority from lanes l cross join lateral (
        select ctid as row_id, key, tail, due_at, born from runs where lane = l.id and status = 0 and due_at <= t
        order by due_at, born limit least(o.room, most) for update skip locked
      ) r
      where l.name = o.name and l.grp = o.grp and (from_queues is null or l.queue = any(from_queues))
        and not exists (select from paused p where p.kind = 'q' and p.value = l.queue)
    ) c
  ), picked as (
    select row_id, key, tail, at, turn from ready where turn <= room order by turn, at limit most
  ), begun as (
    update runs set status = 1, attempt = attempt + 1,
      token = prefix || encode(tail, 'hex') || case when followed or older or has_next or attended is not null then '+' else '' end,
      started_at = t, lease_until = t + (want->>'leaseMs')::bigint
    where ctid = any(array(select row_id from picked))
    returning runs.*
  ), counted as (
    insert into tallies
    select lane, kind, sign * count(*) from begun cross join (values ('pending', -1), ('running', 1)) k(kind, sign)
    group by lane, kind, sign
  )
  select array_agg(entry(r::runs, l) order by p.turn, p.at) as rows,
    (select array_agg(at order by turn, at) from picked) as order_of_turns
  into taken from begun r join picked p on p.key = r.key and p.tail = r.tail join lanes l on l.id = r.lane;
  if taken.rows is null then return; end if;
  caught := taken.rows;
  -- In the order in which they were served last.
  for each in
    select at, count(*) as count from unnest(taken.order_of_turns) with ordinality u(at, place) group by at order by max(place)
  loop
    rule := want->'limits'->names[each.at];
    update groups set served = nextval('turns'),
      began = case when rule->'rate' is null then '{}' else
        (began || array_fill(t, array[each.count::integer]))[
          greatest(1, cardinality(began) + each.count::integer - (rule->'rate'->>'max')::integer + 1):] end,
      idle_at = t + greatest(60000, coalesce((rule->'rate'->>'perMs')::bigint, 0))
    where name = names[each.at] and grp = grps[each.at];
  end loop;
end $$;
