// Writes what a step has changed, in as few and as narrow statements as will do: the statement is the cost.

import type { Value } from '../../drivers/sqlite.ts'
import { textValue } from '../../drivers/sqlite.ts'
import type { FollowUp, Total } from '../../engine.ts'
import type { Connection } from './connection.ts'
import type { Run } from './rows.ts'
import { COMPLETED, hashOf } from './rows.ts'

// One statement with 64 rows costs a third less than 64 statements: 16 values each, far below SQLite's 32,766.
const ROWS_PER_INSERT = [64, 16, 4, 1] as const

/** Gives each its number: those of one INSERT follow each other, because the write lock is held. */
export function insertRuns(connection: Connection, runs: readonly Run[]): void {
  let start = 0
  for (const size of ROWS_PER_INSERT) {
    while (runs.length - start >= size) {
      const batch = runs.slice(start, start + size)
      start += size
      const { lastInsertRowid } = connection.statement(INSERTS[size]).run(...batch.flatMap(valuesOf))
      batch.forEach((run, index) => {
        run.seq = Number(lastInsertRowid) - size + 1 + index
      })
    }
  }
}

function valuesOf(run: Run): Value[] {
  const { policy } = run
  return [
    hashOf(run.id),
    run.slot,
    run.id,
    run.lane.id,
    run.tied,
    run.dueAt,
    run.createdAt,
    policy.maxAttempts,
    policy.resultTtlMs,
    policy.staleTtlMs,
    policy.failureTtlMs,
    policy.retentionMs,
    policy.everyMs ?? 0,
    textValue(run.params),
    textValue(run.extra),
    run.parent ? JSON.stringify(run.parent) : null,
  ]
}

export function storeRun(connection: Connection, run: Run): void {
  connection
    .statement(STORE)
    .run(
      run.lane.id,
      run.status,
      run.tied,
      run.dueAt,
      run.expiresAt,
      run.attempt,
      run.policy.retentionMs,
      run.finishedAt,
      run.leaseUntil,
      run.freshUntil,
      run.staleUntil,
      run.token,
      run.done,
      run.errors.length === 0 ? null : JSON.stringify(run.errors),
      run.seq,
    )
}

export function completeRun(connection: Connection, run: Run): void {
  connection
    .statement(COMPLETE)
    .run(
      run.finishedAt,
      run.expiresAt,
      run.freshUntil,
      run.staleUntil,
      run.done,
      textValue(run.result),
      run.seq,
    )
}

export function moveRun(connection: Connection, run: Run): void {
  connection.statement(MOVE).run(run.slot, run.seq)
}

export function attendRun(connection: Connection, run: Run): void {
  connection.statement(ATTEND).run(run.attended, run.attendedUntil, run.seq)
}

/** `extra` undefined: it stays. */
export function rewriteRun(connection: Connection, run: Run, extra: string | null | undefined): void {
  if (extra === undefined) connection.statement(REWRITE_PARAMS).run(textValue(run.params), run.seq)
  else connection.statement(REWRITE).run(textValue(run.params), textValue(extra), run.seq)
}

/** The same one again adds nothing. */
export function addFollowUp(connection: Connection, run: Run, follow: FollowUp): void {
  connection.statement(ADD_FOLLOW_UP).run(run.seq, follow.draft.id, JSON.stringify(follow))
}

/** False: there is no such lane any more. */
export function countLane(connection: Connection, lane: number, pending: number, running: number): boolean {
  return Number(connection.statement(COUNT_LANE).run(pending, running, lane).changes) === 1
}

export function countTotal(connection: Connection, total: Total, count: number): void {
  connection.statement(COUNT_TOTAL).run(total, count)
}

const ROW = '(?, ?, ?, ?, 0, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?)'
const insertOf = (rows: number): string =>
  'INSERT INTO runs (hash, slot, id, lane, status, tied, due_at, created_at, attempt, max_attempts, result_ttl, ' +
  'stale_ttl, failure_ttl, retention, every, params, extra, parent) VALUES ' +
  Array.from({ length: rows }, () => ROW).join(', ')
const INSERTS = { 64: insertOf(64), 16: insertOf(16), 4: insertOf(4), 1: insertOf(1) }
const STORE = `
  UPDATE runs SET lane = ?, status = ?, tied = ?, due_at = ?, expires_at = ?, attempt = ?, retention = ?,
    finished_at = ?, lease_until = ?, fresh_until = ?, stale_until = ?, token = ?, done = ?, errors = ?
  WHERE seq = ?`
const COMPLETE = `
  UPDATE runs SET status = ${COMPLETED}, tied = 0, token = NULL, lease_until = NULL,
    finished_at = ?, expires_at = ?, fresh_until = ?, stale_until = ?, done = ?, result = CAST(? AS TEXT)
  WHERE seq = ?`
// Apart from the rest, for a statement that names an indexed column writes its index, a random page for each run of
// it, whether the value is a new one or not: settling wrote four times the pages with the slot among the others.
const MOVE = 'UPDATE runs SET slot = ? WHERE seq = ?'
// Apart as well, for the few that depend on being asked for.
const ATTEND = 'UPDATE runs SET attended = ?, attended_until = ? WHERE seq = ?'
const REWRITE_PARAMS = 'UPDATE runs SET params = CAST(? AS TEXT) WHERE seq = ?'
const REWRITE = 'UPDATE runs SET params = CAST(? AS TEXT), extra = CAST(? AS TEXT) WHERE seq = ?'
const ADD_FOLLOW_UP = 'INSERT INTO follow_ups (run, id, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING'
const COUNT_LANE = 'UPDATE lanes SET pending = pending + ?, running = running + ? WHERE id = ?'
const COUNT_TOTAL = `
  INSERT INTO totals (total, count) VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count`
