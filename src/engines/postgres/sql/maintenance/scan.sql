-- In: the key and place of the last run of the page before, and how many runs to look at.
select encode(r.key || r.tail, 'hex') as id, encode(r.key, 'hex') as key, r.place::text as place, p.problems
from (
  select * from runs where (key, place) > ($1::bytea, $2::bigint) order by key, place limit $3
) r
left join lanes l on l.id = r.lane
cross join lateral ({{problems}}) p
order by r.key, r.place
