-- A run ends, is cancelled or goes back to the queue.

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

-- value: the result. An error has been appended to those of the run.
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
  if r.status = 1 then perform make_room(r.lane, t); end if;
  if r.has_next then perform advance_next(ended, t); end if;
  if r.followed then
    for body in
      with told as (delete from follow_ups where key = r.key and tail = r.tail returning *)
      select told.body from told order by seq
    loop
      perform follow_if(body, ended, case to_status when 2 then value else r.errors[cardinality(r.errors)] end, t);
    end loop;
  end if;
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
