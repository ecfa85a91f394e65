-- The verb `promote`.

create function promote(named json, at_least integer) returns json language plpgsql {{settings}} as $$
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
