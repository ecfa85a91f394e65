-- The verb `cancel`.

create function cancel(named json, reason text) returns json language plpgsql {{settings}} as $$
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
