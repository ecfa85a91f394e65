// Writes what a step has changed, in as few and as narrow statements as will do: the statement is the cost.

import type { FollowUp, Total } from '../../contract/engine.ts'
import type { Value } from '../../drivers/sqlite.ts'
import { textValue } from '../../drivers/sqlite.ts'
import type { Connection } from './connection.ts'
import type { Run } from './rows.ts'
import { COMPLETED, hashOf } from './rows.ts'

// One statement with 64 rows costs a third less than 64 statements: 15 values each, far below SQLite's 32,766.
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

/** Of the few that have it, so that the others' rows are as narrow to write as ever. */
export function storeAttended(connection: Connection, { attended, policy, seq }: Run): void {
  connection
    .statement(STORE_ATTENDED)
    .run(
      policy.everyMs ?? null,
      attended?.ms ?? null,
      attended === null ? null : Number(attended.running),
      attended?.until ?? null,
      seq,
    )
}

export function storeParams(connection: Connection, { params, seq }: Run): void {
  connection.statement(STORE_PARAMS).run(textValue(params), seq)
}

export function storeExtra(connection: Connection, { extra, seq }: Run): void {
  connection.statement(STORE_EXTRA).run(textValue(extra), seq)
}

export function moveRun(connection: Connection, run: Run): void {
  connection.statement(MOVE).run(run.slot, run.seq)
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

const ROW = '(?, ?, ?, ?, 0, ?, ?, ?, 0, ?, ?, ?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?)'
const insertOf = (rows: number): string =>
  'INSERT INTO runs (hash, slot, id, lane, status, tied, due_at, created_at, attempt, max_attempts, result_ttl, ' +
  'stale_ttl, failure_ttl, retention, params, extra, parent) VALUES ' +
  Array.from({ length: rows }, () => ROW).join(', ')
const INSERTS = { 64: insertOf(64), 16: insertOf(16), 4: insertOf(4), 1: insertOf(1) }
const STORE = `
  UPDATE runs SET lane = ?, status = ?, tied = ?, due_at = ?, expires_at = ?, attempt = ?, retention = ?,
    finished_at = ?, lease_until = ?, fresh_until = ?, stale_until = ?, token = ?, done = ?, errors = ?
  WHERE seq = ?`
const STORE_ATTENDED = `
  UPDATE runs SET every = ?, attended_ms = ?, attended_running = ?, attended_until = ? WHERE seq = ?`
const STORE_PARAMS = 'UPDATE runs SET params = CAST(? AS TEXT) WHERE seq = ?'
const STORE_EXTRA = 'UPDATE runs SET extra = CAST(? AS TEXT) WHERE seq = ?'
const COMPLETE = `
  UPDATE runs SET status = ${COMPLETED}, tied = 0, token = NULL, lease_until = NULL,
    finished_at = ?, expires_at = ?, fresh_until = ?, stale_until = ?, done = ?, result = CAST(? AS TEXT)
  WHERE seq = ?`
// Apart from the rest, for a statement that names an indexed column writes its index, a random page for each run of
// it, whether the value is a new one or not: settling wrote four times the pages with the slot among the others.
const MOVE = 'UPDATE runs SET slot = ? WHERE seq = ?'
const ADD_FOLLOW_UP = 'INSERT INTO follow_ups (run, id, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING'
const COUNT_LANE = 'UPDATE lanes SET pending = pending + ?, running = running + ? WHERE id = ?'
const COUNT_TOTAL = `
  INSERT INTO totals (total, count) VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count`
