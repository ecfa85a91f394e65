-- The verb `list`.

create function list_runs(filter json, after_key bytea, after_place bigint, most integer, looked_at integer) returns json
language plpgsql stable {{settings}} as $$
begin return (
  with page as materialized (
    select * from runs where (key, place) > (after_key, after_place) order by key, place limit looked_at
  ), matching as materialized (
    select entry(p::runs, l) as entry, p.key, p.place
    from page p join lanes l on l.id = p.lane
    where (p.expires_at is null or p.expires_at > now_ms())
      and coalesce(greatest(p.status, 0) = (filter->>'status')::smallint, true)
      and coalesce(l.name = filter->>'name', true) and coalesce(l.queue = filter->>'queue', true)
    order by p.key, p.place limit most
  ), last as (
    (select key, place from matching where (select count(*) from matching) = most order by key desc, place desc limit 1)
    union all
    (select key, place from page where (select count(*) from matching) < most and (select count(*) from page) = looked_at
     order by key desc, place desc limit 1)
  )
  select json_build_object('entries', coalesce((select json_agg(entry) from matching), '[]'),
    'cursor', (select encode(key, 'hex') || ':' || place from last))
); end $$;
