-- In: a lane and a kind of tally. Adds what the tallies lack, or takes away what they have too much.
insert into tallies
select $1, $2, there.count - counted.count
from
  (
    select coalesce(sum(count), 0) as count from tallies where lane = $1 and kind = $2
  ) counted,
  (
    select count(*) as count from runs
    where lane = $1 and case $2 when 'running' then status = 1 else status in (0, -1) end
  ) there
where there.count <> counted.count
returning lane
