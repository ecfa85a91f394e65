-- Part of `admit`: the insert of drafts of several kinds.

-- Puts down what is new of `ds`; `made` are the ids of what it was, in order.
with fresh as (
      insert into runs ({{columns}})
      select n.key, 0, n.tail, l.id, t, greatest(t, least(coalesce(n.due, t + n.delay), t + n.most_delay)), n.attempts,
        n.result_ttl, n.stale_ttl, n.failure_ttl, n.retention, coalesce(n.every, 0), n.attended, t + n.attended / 2,
        n."then" is not null, n.params, n.extra, n.born, case when n.watch and address is not null then array[address] end
      from unnest(ds) n join lanes l
        on l.name = n.name and l.queue = n.queue and l.priority = n.priority and l.grp = coalesce(n.grp, '')
      where not exists (select from runs any_of where any_of.key = n.key)
      on conflict (key, place) do nothing
      returning key, tail, lane, due_at
    ), sums as (
      select lane, min(due_at) as due, count(*) as count from fresh group by lane
    ), counted as (
      insert into tallies
      select lane, 'pending', count from sums
      union all select 0, 'created', sum(count) from sums having count(*) > 0
    )
    select array_agg(key || tail order by key), (select count(wake(lane, due, count::integer, tx)) from sums) into made from fresh;
