-- The verb `read`.

create function read_runs(named json, address text) returns json language plpgsql {{settings}} as $$
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
