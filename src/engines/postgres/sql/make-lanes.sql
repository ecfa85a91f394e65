-- The lanes of drafts, made before they are admitted.

-- In: the drafts in order of their keys, so that two batches never wait for each other: their ids, 44 bytes each, their
-- params, and their kinds, which is all the rest, in the same order; or one kind of them all.
-- Out: the time, and an answer for each draft that is not newly created: of those the caller knows all there is.
create function make_lanes(wanted json) returns void language plpgsql {{settings}} as $$
begin
  perform lane_of(l->>0, l->>1, (l->>2)::integer, l->>3) from json_array_elements(wanted) l;
end $$;

create function asks(kinds json, ids bytea, params json, places integer[], birth bigint, t bigint) returns ask[] language plpgsql as $$
begin
  return (
    select array_agg((i - 1, n.key, n.tail, aside_of(n.tail), k.name, k.queue,
      k.priority, k.due, k.delay, k.most_delay, k.grp, k.attended, k.every, k.on_pending, k.on_running, k.attempts, k.result_ttl,
      k.stale_ttl, k.failure_ttl, k.retention, k.refresh, k.mismatch, k.watch, k.extra, n.params, k."then", birth + places[i], t)::ask order by i)
    from (
      select i, given.params, coalesce(kind, kinds->0) as kind, substr(ids, (i * 44 - 43)::integer, 32) as key,
        substr(ids, (i * 44 - 11)::integer, 12) as tail
      from rows from (json_array_elements_text(params), json_array_elements(kinds)) with ordinality given(params, kind, i)
    ) n cross join lateral json_populate_record(null::ask, n.kind) k
  );
end $$;
