-- In: a key and a run's own part of the id. Removes an ended run; the accepted result of an older one stands there again.
delete from runs where key = $1 and tail = $2 and status >= 2 returning place::text, status
