-- The types of the lists that the functions are given.

-- What the functions are given, as a list of JSON objects.
create type ask as (
  ord integer, key bytea, tail bytea, aside bigint, name text, queue text, priority integer, due bigint,
  delay bigint, most_delay bigint, grp text, attended bigint, every bigint, on_pending text, on_running text, attempts integer, result_ttl bigint, stale_ttl bigint, failure_ttl bigint, retention bigint,
  refresh boolean, mismatch text, watch boolean, extra text, params text, "then" json, born bigint, at bigint
);
create type outcome as (
  ord integer, first boolean, key bytea, tail bytea, aside bigint, token text, kind text, value text, delay bigint,
  due bigint, params text,
  "then" json
);
create type named as (ord integer, key bytea, tail bytea, aside bigint, token text, progress text);
