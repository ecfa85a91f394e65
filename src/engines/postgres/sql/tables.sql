-- The tables beside the runs: lanes, groups, pauses, tallies, follow-ups and waits.

-- Counters that many transactions changed would make them wait for each other: each adds a line of its own instead, and
-- the sweep adds the lines up. `waits` tells who would like to hear of work, so that nobody is told for nothing.
create table lanes (
  id integer generated always as identity primary key,
  name text not null,
  queue text not null,
  priority integer not null,
  grp text not null default '',
  unique (name, queue, priority, grp)
);
create index lanes_groups on lanes (name, grp) where grp <> '';
create sequence turns;
create sequence births increment 1000;
create table groups (
  name text not null,
  grp text not null default '',
  served bigint not null default 0,
  began bigint[] not null default '{}',
  idle_at bigint not null,
  primary key (name, grp)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
create table paused (kind text not null, value text not null, primary key (kind, value));
create table tallies (lane integer not null, kind text not null, count bigint not null)
  with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
create table follow_ups (
  key bytea not null,
  tail bytea not null,
  id text not null,
  seq bigint generated always as identity,
  body json not null,
  primary key (key, tail, id)
);
create table waits (
  address text not null,
  wanted text not null,
  waiting boolean not null,
  next_due bigint not null,
  seen_at bigint not null,
  names text[] not null,
  queues text[],
  primary key (address, wanted)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
