-- In: a key and a run's own part of the id. Sets the flags that make the end of a live run look at what lies beside it.
update runs r set
  followed = r.followed or exists (select from follow_ups f where f.key = r.key and f.tail = r.tail),
  has_next = r.has_next
    or r.place = 0 and exists (select from runs behind where behind.key = r.key and behind.status = -1),
  older = r.older or r.place = 0 and exists (select from runs old where old.key = r.key and old.place = 1)
where r.key = $1 and r.tail = $2 and r.status < 2
returning r.key
