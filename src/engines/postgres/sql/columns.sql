-- Part of `admit`: the columns of `runs` that both inserts fill.

key, place, tail, lane, created_at, due_at, max_attempts, result_ttl, stale_ttl, failure_ttl, retention,
      every, attended, attended_until, followed, params, extra, born, watchers
