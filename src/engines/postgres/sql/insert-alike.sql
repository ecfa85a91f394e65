-- Part of `admit`: the insert of drafts of one kind.

-- Puts down what is new of drafts that differ in id and params alone.
insert into runs ({{columns}})
    select n.key, 0, substr(ids, n.at + 32, 12), kind_lane, t, kind_due, kind.attempts, kind.result_ttl, kind.stale_ttl,
      kind.failure_ttl, kind.retention, coalesce(kind.every, 0), kind.attended, t + kind.attended / 2, false, n.params, kind.extra, birth + admit.places[n.i],
      case when kind.watch and address is not null then array[address] end
    from (
      select each as params, i, (i * 44 - 43)::integer as at, substr(ids, (i * 44 - 43)::integer, 32) as key
      from json_array_elements_text(admit.params) with ordinality given(each, i)
    ) n
    -- What has a run anywhere may have this one: that is to be looked at.
    where not exists (select from runs any_of where any_of.key = n.key)
