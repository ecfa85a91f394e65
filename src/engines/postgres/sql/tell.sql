-- Who is told of work and of ends.

-- Whoever waits is told by one of those who bring work, in the order in which they come: the others pass by the row that is
-- locked. What is done inside somebody's own transaction (`tx`) locks nothing, since that may last: then all who wait are told.
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
