-- In: a key whose place is free. The run behind it stands there now.
update runs r set status = 0, place = 0,
  older = exists (select from runs old where old.key = $1 and old.place = 1)
where r.key = $1 and r.status = -1 and not exists (select from runs s where s.key = $1 and s.place = 0)
returning wake(r.lane, r.due_at, 1)
