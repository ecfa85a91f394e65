-- A draft joins the run that stands under its key.

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
