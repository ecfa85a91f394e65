-- Lanes whose tallies differ from the runs that are there. One statement sees one moment, so live workers do no harm.
select l.id, l.name, l.queue, k.kind, coalesce(t.count, 0)::float8 as counted, coalesce(a.count, 0)::float8 as there
from lanes l
cross join (values ('pending'), ('running')) k(kind)
left join (
  select lane, kind, sum(count) as count from tallies group by lane, kind
) t on t.lane = l.id and t.kind = k.kind
left join (
  select lane, case status when 1 then 'running' else 'pending' end as kind, count(*) as count
  from runs where status < 2 group by 1, 2
) a on a.lane = l.id and a.kind = k.kind
where coalesce(t.count, 0) <> coalesce(a.count, 0)
order by l.id, k.kind
