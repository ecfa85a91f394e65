// Reading without the write lock: runs by id, lists, and the kept counters.
import type { Counts, Filter, Page, Total } from '../../engine.ts'
import { MAX_BATCH } from '../../engine.ts'
import type { Connection } from './connection.ts'
import { pausedIn } from './groups.ts'
import { rowsOf } from './load.ts'
import type { Broken, Row, Run } from './rows.ts'
import {
  ACCEPTED,
  BEHIND,
  COMPLETED,
  entryOf,
  FULL_ROW,
  isBroken,
  isGone,
  keyOf,
  MALFORMED,
  PENDING,
  RUNNING,
  runOf,
  STANDS,
} from './rows.ts'

/** The rows that were asked for, apart from those that can't be read. */
export interface Found {
  runs: Run[]
  broken: Broken[]
}

/** May hold more than was asked for: what stands under the key of a run that is aside. */
export function readRuns(connection: Connection, ids: readonly string[]): Found {
  return sorted(connection, rowsOf(connection, ids))
}

/** By a key, the run that stands there, or else the one whose result does. */
export function byIdOrKey(runs: readonly Run[]): Map<string, Run> {
  const found = new Map<string, Run>()
  for (const run of runs) {
    found.set(run.id, run)
    if (run.slot === STANDS || (run.slot === ACCEPTED && !found.has(keyOf(run.id))))
      found.set(keyOf(run.id), run)
  }
  return found
}

function sorted(connection: Connection, rows: readonly Row[]): Found {
  const found: Found = { runs: [], broken: [] }
  for (const row of rows) {
    const run = runOf(row, (id) => connection.laneById(id))
    if (isBroken(run)) found.broken.push(run)
    else found.runs.push(run)
  }
  return found
}

// A page looks at so many rows at the most (some milliseconds), whatever the filter leaves of them.
const ROWS_PER_PAGE = 10_000
const STATUS_CODES = { pending: PENDING, running: RUNNING, completed: COMPLETED, failed: 3, cancelled: 4 }

export function list(
  connection: Connection,
  filter: Filter,
  cursor: string | undefined,
  now: number,
): Page & Found {
  const limit = Math.max(1, Math.min(filter.limit ?? 100, MAX_BATCH))
  const after = Number(cursor ?? 0) || 0
  const status = filter.status === undefined ? null : STATUS_CODES[filter.status]
  const rows = connection
    .statement(LIST)
    .all(after, ROWS_PER_PAGE, status, filter.name ?? null, filter.queue ?? null, now, limit) as Row[]
  const found = sorted(connection, rows)
  const entries = found.runs.filter((run) => !isGone(run, now)).map(entryOf)
  let last: number | null
  if (rows.length < limit) {
    const { seq, seen } = connection.statement(PAGE_END).get(after, ROWS_PER_PAGE) as {
      seq: number | null
      seen: number
    }
    last = seen < ROWS_PER_PAGE ? null : seq
  } else {
    last = Math.max(...found.runs.map(({ seq }) => seq), ...found.broken.map(({ seq }) => seq))
  }
  return { ...found, entries, ...(last === null ? {} : { cursor: String(last) }) }
}

export function count(connection: Connection): Counts {
  const lanes = connection.statement(LANES).all() as Counts['lanes']
  const paused = connection.statement('SELECT lanes FROM paused').all() as { lanes: string }[]
  const totals = connection.statement('SELECT total, count FROM totals').all() as {
    total: Total
    count: number
  }[]
  return {
    lanes: lanes.map((lane) => ({ ...lane })),
    paused: paused.map((each) => pausedIn(each.lanes)),
    totals: Object.fromEntries(totals.map(({ total, count }) => [total, count])),
  }
}

// In: after, rows to look at, status, name, queue, now, how many.
const LIST = `
  SELECT ${FULL_ROW} FROM (SELECT * FROM runs WHERE seq > ?1 ORDER BY seq LIMIT ?2) r
  WHERE (?3 IS NULL OR r.status = ?3 OR (?3 = ${PENDING} AND r.status = ${BEHIND})) AND r.status <> ${MALFORMED} AND (r.expires_at IS NULL OR r.expires_at > ?6)
    AND (?4 IS NULL OR r.lane IN (SELECT id FROM lanes WHERE name = ?4))
    AND (?5 IS NULL OR r.lane IN (SELECT id FROM lanes WHERE queue = ?5))
  ORDER BY r.seq LIMIT ?7`
const PAGE_END = `
  SELECT max(seq) AS seq, count(*) AS seen FROM (SELECT seq FROM runs WHERE seq > ? ORDER BY seq LIMIT ?)`
const LANES = `
  SELECT queue, name, sum(pending) AS pending, sum(running) AS running FROM lanes
  WHERE pending > 0 OR running > 0 GROUP BY queue, name`
