-- The table of runs and its indexes.

-- `place` is where a run stands under its key: 0 stands there, 1 holds the accepted result while another run stands
-- there (never without one), more is aside, a number made of the id's own part, by which it is still found.
--
-- `lane` stands for queue, name, priority and group: what is ready lies in order of its due time in one narrow index, and nothing
-- that is due later or meant for others is ever stepped over. `born` is the order of births, because the
-- first in is the first out: each call takes a number and has room for a thousand behind it.
--
-- Status -1 is pending behind the run that stands there: aside, and in no lane's order until it comes forward. `attended` is twice
-- the milliseconds for which a run waits to be asked for, and one more where it may be cancelled while it runs.
--
-- An update is cheap (it touches no index at all) as long as it changes no column that an index names. So a heartbeat, a
-- watcher and a progress cost one row; `lease_until` is in no index for that reason, and the sweep looks at all that runs.
create table runs (
  key bytea not null check (length(key) = 32),
  place bigint not null check (place >= 0),
  created_at bigint not null,
  due_at bigint not null,
  started_at bigint,
  lease_until bigint,
  finished_at bigint,
  fresh_until bigint,
  stale_until bigint,
  expires_at bigint,
  result_ttl bigint not null,
  stale_ttl bigint not null,
  failure_ttl bigint not null,
  retention bigint not null,
  every bigint not null,
  attended bigint,
  attended_until bigint,
  lane integer not null,
  max_attempts integer not null,
  attempt integer not null default 0,
  status smallint not null default 0 check (status between -1 and 4),
  followed boolean not null default false,
  older boolean not null default false,
  has_next boolean not null default false,
  tail bytea not null check (length(tail) = 12),
  token text,
  done text,
  extra text,
  parent json,
  watchers text[],
  errors text[] not null default '{}',
  params text not null,
  progress text,
  result text,
  born bigint not null,
  check ((status = 1) = (token is not null and lease_until is not null)),
  check ((status >= 2) = (expires_at is not null))
) with (
  fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1,
  autovacuum_analyze_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 1
);
create unique index runs_key on runs (key, place);
create index runs_pending on runs (lane, due_at, born) where status = 0;
create index runs_running on runs (lane) where status = 1;
create index runs_ended on runs (lane, expires_at) where status >= 2;
create index runs_behind on runs (lane) where status = -1;
create index runs_attended on runs (attended_until) where attended_until is not null;
