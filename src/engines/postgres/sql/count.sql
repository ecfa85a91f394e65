-- The verb `count`.

create function counts() returns json language plpgsql stable {{settings}} as $$
begin return (
  with sums as (select lane, kind, sum(count) as count from tallies group by lane, kind)
  select json_build_object(
    'lanes', (
      select coalesce(json_agg(json_build_object('queue', queue, 'name', name, 'pending', pending, 'running', running)), '[]')
      from (
        select l.queue, l.name, coalesce(sum(s.count) filter (where s.kind = 'pending'), 0) as pending,
          coalesce(sum(s.count) filter (where s.kind = 'running'), 0) as running
        from sums s join lanes l on l.id = s.lane group by l.queue, l.name
      ) each where pending > 0 or running > 0
    ),
    'paused', (
      select coalesce(json_agg(json_build_object(case kind when 'q' then 'queue' else 'name' end, value)), '[]') from paused
    ),
    'totals', (select coalesce(json_object_agg(kind, count), '{}') from sums where lane = 0)
  )
); end $$;
