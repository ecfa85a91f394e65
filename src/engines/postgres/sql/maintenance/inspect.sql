-- In: a key, and the run's own part of the id or null. The run, or the one that stands under the key, with what lies beside it.
select encode(r.key || r.tail, 'hex') as id, r.place::text as place, r.status, r.lease_until as lease,
  case when l.id is not null then entry(r, l) end as entry,
  to_jsonb(r) as raw, to_jsonb(l) as lane, p.problems,
  (
    select coalesce(json_agg(f.body order by f.seq), '[]') from follow_ups f
    where f.key = r.key and f.tail = r.tail
  ) as follows
from runs r
left join lanes l on l.id = r.lane
cross join lateral ({{problems}}) p
where r.key = $1 and case when $2::bytea is null then r.place in (0, 1) else r.tail = $2 end
order by r.place limit 1
