-- The verb `extend`.

create function extend(leases json, lease_ms bigint) returns json language plpgsql {{settings}} as $$
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
