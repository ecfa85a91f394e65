-- Follow-ups of runs that are gone.
select encode(f.key || f.tail, 'hex') as id, f.id as follow
from follow_ups f
where not exists (select from runs r where r.key = f.key and r.tail = f.tail)
order by f.seq limit 1000
