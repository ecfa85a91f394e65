-- In: a key. The run that waits behind nothing that lives comes forward.
update runs set place = aside_of(tail)
where key = $1 and place = 0 and status >= 2
  and exists (select from runs behind where behind.key = $1 and behind.status = -1)
