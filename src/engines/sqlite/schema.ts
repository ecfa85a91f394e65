// The tables of the SQLite store, and how a file comes to have them.

import { DeferqError } from '../../base/errors.ts'
import type { Database } from '../../drivers/sqlite.ts'
import { APPLICATION_ID } from '../../drivers/sqlite-connection.ts'

export const SCHEMA_VERSION = 1

// `hash` is 52 bits of the key and `slot` the run's place under it: 0 stands there, 1 holds the accepted result while
// another stands there, 2 waits behind the one that stands there, more is aside (48 bits of the id's own part). Two integers instead of 88 characters: random
// keys touch a page of this index per insert, and with 15 bytes an entry instead of 95 that made inserts 1.4 times as fast.
// It is no unique index, because 52 bits may collide: keys are compared in full where it is read, under the write lock.
//
// `lane` stands for queue, name, group and priority: what is ready lies in order of its due time in one narrow index, and
// nothing that is due later or meant for others is ever stepped over.
//
// Only what SQLite can check for nothing is checked here; the rest is checked where a row is read.
const RUNS = `
  CREATE TABLE runs (
    seq INTEGER PRIMARY KEY,
    hash INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    status INTEGER NOT NULL,
    tied INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    attempt INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    result_ttl INTEGER NOT NULL,
    stale_ttl INTEGER NOT NULL,
    failure_ttl INTEGER NOT NULL,
    retention INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    lease_until INTEGER,
    fresh_until INTEGER,
    stale_until INTEGER,
    token TEXT,
    done TEXT,
    id TEXT NOT NULL,
    errors TEXT,
    params TEXT NOT NULL,
    extra TEXT,
    parent TEXT,
    progress TEXT,
    result TEXT,
    every INTEGER,
    attended_ms INTEGER,
    attended_running INTEGER,
    attended_until INTEGER,
    CHECK ((status = 1) = (token IS NOT NULL) AND (status = 1) = (lease_until IS NOT NULL)),
    CHECK ((status >= 2) = (expires_at IS NOT NULL))
  ) STRICT;
  CREATE INDEX runs_key ON runs (hash, slot);
  CREATE INDEX runs_pending ON runs (lane, due_at) WHERE status = 0 AND slot <> 2;
  CREATE INDEX runs_running ON runs (lease_until) WHERE status = 1;
  CREATE INDEX runs_ended ON runs (lane, expires_at) WHERE status >= 2;
  CREATE INDEX runs_attended ON runs (attended_until) WHERE attended_until IS NOT NULL;
`

// Lane ids are never used twice (AUTOINCREMENT), because every connection remembers them. Lane 0 takes in what names
// a lane that isn't there. How many of a group run is the sum over its lanes, so that no second counter can drift from
// the first; `served` is its place in the order of turns, and `begins` holds what a rate looks back at.
const OTHERS = `
  CREATE TABLE lanes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    grouping INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    running INTEGER NOT NULL DEFAULT 0,
    UNIQUE (name, queue, priority, grouping)
  ) STRICT;
  CREATE INDEX lanes_group ON lanes (grouping) WHERE grouping > 0;
  INSERT INTO lanes (id, name, queue, priority) VALUES (0, '', '', 0);
  CREATE TABLE groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    served INTEGER NOT NULL DEFAULT 0,
    idle_at INTEGER NOT NULL DEFAULT 0,
    UNIQUE (name, label)
  ) STRICT;
  CREATE INDEX groups_served ON groups (served);
  CREATE TABLE begins (
    grouping INTEGER NOT NULL,
    at INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (grouping, at)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE paused (kind TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, value)) STRICT, WITHOUT ROWID;
  CREATE TABLE follow_ups (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (run, id)
  ) STRICT;
  CREATE TABLE totals (total TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE news (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    origin TEXT NOT NULL,
    selector TEXT NOT NULL
  ) STRICT;
`

/** One step per version, each from the version before it. A step that was released is never changed. */
export const ALL_STEPS: readonly string[] = [RUNS + OTHERS]

const numberOf = (db: Database, pragma: string): number =>
  Object.values(db.prepare(`PRAGMA ${pragma}`).get() as Record<string, number>)[0] as number

/** False: the file is ours and up to date. True: it needs `migrate`. Throws where it is none of ours. */
export function needsMigration(db: Database, file: string): boolean {
  // In this order: another process may make it one of ours between two looks, and all of that at once.
  const { tables } = db.prepare('SELECT count(*) AS tables FROM sqlite_schema').get() as { tables: number }
  const application = numberOf(db, 'application_id')
  const version = numberOf(db, 'user_version')
  if (application === APPLICATION_ID) {
    if (version > SCHEMA_VERSION) {
      throw new DeferqError(
        'STORE_MISMATCH',
        `The SQLite store ${file} was made by a newer deferq (schema ${version}; this one knows up to ` +
          `${SCHEMA_VERSION}): upgrade deferq here, or use another file.`,
        { details: { file, version, known: SCHEMA_VERSION } },
      )
    }
    return version < SCHEMA_VERSION
  }
  if (tables > 0 || application !== 0) {
    throw new DeferqError(
      'STORE_MISMATCH',
      `The SQLite database ${file} belongs to another program: give deferq a file of its own.`,
      { details: { file, application } },
    )
  }
  return true
}

/** The steps that `migrate` would take on this file, in order. */
export const missingSteps = (db: Database, file: string): string[] =>
  needsMigration(db, file) ? [...ALL_STEPS.slice(numberOf(db, 'user_version'))] : []

/** Runs inside BEGIN IMMEDIATE: of several processes that open a fresh file at once, one does the work. */
export function migrate(db: Database, file: string): void {
  if (!needsMigration(db, file)) return
  for (const step of ALL_STEPS.slice(numberOf(db, 'user_version'))) db.exec(step)
  db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`)
}
