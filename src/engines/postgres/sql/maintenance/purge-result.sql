-- In: a key whose run is gone. An accepted result is never alone: it stands there again.
update runs set place = 0
where key = $1 and place = 1 and not exists (select from runs s where s.key = $1 and s.place = 0)
