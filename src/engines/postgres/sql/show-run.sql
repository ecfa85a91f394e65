-- A run as the library reads it.

create function now_ms() returns bigint language sql volatile as $$
  select (extract(epoch from clock_timestamp()) * 1000)::bigint
$$;

create function aside_of(tail bytea) returns bigint language sql immutable as $$
  select 2 + ('x' || encode(substr(tail, 1, 6), 'hex'))::bit(48)::bigint
$$;

create function standing(r runs, l lanes) returns json language sql stable as $$
  select json_build_array(encode(r.key || r.tail, 'hex'), l.name, l.queue, greatest(r.status, 0), l.priority, r.attempt, r.created_at,
    r.due_at, r.started_at, r.finished_at, r.progress, r.result, r.fresh_until, r.stale_until, r.errors)
$$;

create function entry(r runs, l lanes) returns json language sql stable as $$
  select json_build_array(encode(r.key || r.tail, 'hex'), l.name, l.queue, greatest(r.status, 0), l.priority, r.attempt, r.created_at,
    r.due_at, r.started_at, r.finished_at, r.progress, r.result, r.fresh_until, r.stale_until, r.errors,
    r.params, r.max_attempts, r.result_ttl, r.stale_ttl, r.failure_ttl, r.retention, r.extra, r.parent, r.token,
    r.every, l.grp)
$$;
