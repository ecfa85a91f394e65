-- In: a key and a run's own part of the id. Removes the follow-ups of a run that has ended or is gone.
delete from follow_ups f
where f.key = $1 and f.tail = $2
  and not exists (select from runs r where r.key = f.key and r.tail = f.tail and r.status < 2)
returning f.id
