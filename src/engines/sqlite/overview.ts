// Reading without the write lock: runs by id, lists, and the kept counters; and the pauses that are counted among them.
import type { Counts, Filter, Lanes, Page, Total } from '../../contract/engine.ts'
import { MAX_BATCH } from '../../contract/engine.ts'
import type { Connection } from './connection.ts'
import { rowsOf } from './load.ts'
import type { Broken, Row, Run } from './rows.ts'
import {
  ACCEPTED,
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
import type { Step } from './step.ts'

/** The rows that were asked for, apart from those that can't be read. */
export interface Found {
  runs: Run[]
  broken: Broken[]
}

/** May hold more than was asked for: what stands under the key of a run that is aside. */
export function readRuns(connection: Connection, ids: readonly string[]): Found {
  return sorted(connection, rowsOf(connection, ids))
}

/** Of what was found: the run with this id, or the one that stands under this key. */
export function pickRun(runs: readonly Run[]): (idOrKey: string) => Run | undefined {
  const byId = new Map<string, Run>()
  for (const run of runs) {
    byId.set(run.id, run)
    const key = keyOf(run.id)
    if (run.slot === STANDS || (run.slot === ACCEPTED && !byId.has(key))) byId.set(key, run)
  }
  return (idOrKey) => byId.get(idOrKey)
}

/** The same within a step, and each that may be given up is asked for once more. */
export function renew(step: Step, ids: readonly string[]): Found {
  const { connection, now } = step
  const found = readRuns(connection, ids)
  const find = pickRun(found.runs)
  for (const id of ids) {
    const run = find(id)
    if (run?.attended) connection.statement(RENEW).run(now + run.attended.ms, run.seq)
  }
  return found
}

/** Within a step. What is pending there is left out by `claim` while it is paused. */
export function pause(step: Step, lanes: Lanes, paused: boolean): void {
  const place = 'queue' in lanes ? (['queue', lanes.queue] as const) : (['name', lanes.name] as const)
  step.connection.statement(paused ? PAUSE : RESUME).run(...place)
  if (!paused) step.news.opened = true
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
  const totals = connection.statement('SELECT total, count FROM totals').all() as {
    total: Total
    count: number
  }[]
  const paused = connection.statement('SELECT kind, value FROM paused').all() as {
    kind: string
    value: string
  }[]
  return {
    lanes: lanes.map((lane) => ({ ...lane })),
    paused: paused.map(({ kind, value }) => (kind === 'queue' ? { queue: value } : { name: value })),
    totals: Object.fromEntries(totals.map(({ total, count }) => [total, count])),
  }
}

const RENEW = 'UPDATE runs SET attended_until = ? WHERE seq = ?'
const PAUSE = 'INSERT INTO paused (kind, value) VALUES (?, ?) ON CONFLICT DO NOTHING'
const RESUME = 'DELETE FROM paused WHERE kind = ? AND value = ?'
// In: after, rows to look at, status, name, queue, now, how many.
const LIST = `
  SELECT ${FULL_ROW} FROM (SELECT * FROM runs WHERE seq > ?1 ORDER BY seq LIMIT ?2) r
  WHERE (?3 IS NULL OR r.status = ?3) AND r.status <> ${MALFORMED} AND (r.expires_at IS NULL OR r.expires_at > ?6)
    AND (?4 IS NULL OR r.lane IN (SELECT id FROM lanes WHERE name = ?4))
    AND (?5 IS NULL OR r.lane IN (SELECT id FROM lanes WHERE queue = ?5))
  ORDER BY r.seq LIMIT ?7`
const PAGE_END = `
  SELECT max(seq) AS seq, count(*) AS seen FROM (SELECT seq FROM runs WHERE seq > ? ORDER BY seq LIMIT ?)`
const LANES = `
  SELECT queue, name, sum(pending) AS pending, sum(running) AS running FROM lanes
  WHERE pending > 0 OR running > 0 GROUP BY queue, name`
