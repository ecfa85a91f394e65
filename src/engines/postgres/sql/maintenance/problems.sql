-- Part of the statements that look for contradictions: those of the run `r` in the lane `l`, as a JSON list.
select coalesce(json_agg(json_build_object('kind', kind, 'where', place, 'detail', detail)), '[]') as problems
from (
  select 'orphan' as kind, 'follow_ups' as place, 'Follow-ups wait for a run that has ended.' as detail
  where r.status >= 2 and exists (select from follow_ups f where f.key = r.key and f.tail = r.tail)
  union all
  select 'no-ticket', 'runs status', 'The run waits behind a run that does not live: nothing brings it forward.'
  where r.status = -1
    and not exists (select from runs ahead where ahead.key = r.key and ahead.place = 0 and ahead.status in (0, 1))
  union all
  select 'counter', 'runs followed', 'The end of the run would not look at its follow-ups.'
  where r.status < 2 and not r.followed
    and exists (select from follow_ups f where f.key = r.key and f.tail = r.tail)
  union all
  select 'counter', 'runs has_next', 'The end of the run would not bring the run behind it forward.'
  where r.status in (0, 1) and r.place = 0 and not r.has_next
    and exists (select from runs behind where behind.key = r.key and behind.status = -1)
  union all
  select 'counter', 'runs older', 'The end of the run would leave two accepted results.'
  where r.status in (0, 1) and r.place = 0 and not r.older
    and exists (select from runs old where old.key = r.key and old.place = 1)
  union all
  select 'unreadable', 'runs lane', 'Its lane is unknown: no claim finds it, and no list shows it.'
  where l.id is null
) each
