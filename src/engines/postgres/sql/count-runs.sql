-- The lane of a run, and the tally of a lane.

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
