// How attempts end and last: outcomes and heartbeats against the lease's token, and the sweep of what was left behind.

import type { AttemptOutcome, Lease, LeaseAnswer, SettleAnswer, Swept } from '../../contract/engine.ts'
import { abandonedError, leaseLostError } from '../../contract/store-errors.ts'
import { textValue } from '../../drivers/sqlite.ts'
import type { Connection } from './connection.ts'
import { forgetIdleGroups } from './groups.ts'
import type { Row } from './rows.ts'
import { CANCELLED, COMPLETED, FAILED, LIGHT_ROW, RUNNING } from './rows.ts'
import type { Step } from './step.ts'
import { placeOf } from './token.ts'

/**
 * Most attempts complete, and change nothing but their own row: those are one statement each, with no reading
 * before it, for the token names the row and its lane. The others are read, and go through the rules.
 */
export function settle(step: Step, outcomes: readonly AttemptOutcome[]): SettleAnswer[] {
  const waiting = new Set<string>()
  const others = outcomes.filter((outcome) => {
    // Of two outcomes for one run the first counts.
    if (!waiting.has(outcome.id) && completeAtOnce(step, outcome)) return false
    waiting.add(outcome.id)
    return true
  })
  if (others.length === 0) return outcomes.map(() => 'settled')
  step.loadLight([...new Set(others.map(({ token }) => placeOf(token).seq))])
  const answers = new Map<AttemptOutcome, SettleAnswer>()
  for (const outcome of others) {
    answers.set(outcome, settleOne(step, outcome))
    step.followUps.admit()
  }
  return outcomes.map((outcome) => answers.get(outcome) ?? 'settled')
}

function completeAtOnce(step: Step, outcome: AttemptOutcome): boolean {
  if (outcome.kind !== 'completed' || (outcome.then?.length ?? 0) > 0) return false
  const { seq, lane } = placeOf(outcome.token)
  const { changes } = step.connection
    .statement(COMPLETE_AT_ONCE)
    .run(step.now, textValue(outcome.result), seq, outcome.token, lane, outcome.id)
  if (Number(changes) === 0) return false
  step.count(lane, 0, -1)
  step.total('completed')
  step.news.ended.push(outcome.id)
  return true
}

function settleOne(step: Step, outcome: AttemptOutcome): SettleAnswer {
  const { token } = outcome
  const run = step.runBySeq(placeOf(token).seq)
  if (run?.id !== outcome.id || run.status !== RUNNING || run.token !== token) {
    if (run?.id === outcome.id && run.done === token) return 'settled'
    step.total('outcomesRefused')
    return 'lost'
  }
  run.done = token
  switch (outcome.kind) {
    case 'completed':
      step.end(run, COMPLETED, outcome.result)
      break
    case 'failed':
      step.addError(run, outcome.error)
      step.end(run, FAILED, outcome.error)
      break
    case 'cancelled':
      step.addError(run, outcome.error)
      step.end(run, CANCELLED, outcome.error)
      break
    case 'retry':
      step.addError(run, outcome.error)
      step.requeue(run, step.now + outcome.delayMs)
      step.total('retried')
      break
    case 'released':
      run.attempt--
      if (outcome.params !== undefined) step.setParams(run, outcome.params)
      step.requeue(run, Math.max(run.createdAt, outcome.dueAt ?? run.dueAt))
  }
  for (const draft of outcome.then ?? []) step.followUps.follow(draft, null)
  return 'settled'
}

export function extend(step: Step, leases: readonly Lease[], leaseMs: number): LeaseAnswer[] {
  const { connection, now } = step
  const held = leases.map(({ id, token, progress }) => {
    const { changes } = connection
      .statement(EXTEND)
      .run(now + leaseMs, textValue(progress ?? null), placeOf(token).seq, token, id)
    return Number(changes) === 1
  })
  step.load(leases.filter((_lease, index) => !held[index]).map(({ id }) => id))
  return leases.map(({ id }, index) => {
    if (held[index]) return 'held'
    return step.run(id)?.status === CANCELLED ? 'cancelled' : 'lost'
  })
}

/** Whether a sweep would find anything; so that idle sweepers don't take the write lock from those who work. */
export function isLittered(connection: Connection, now: number): boolean {
  const { found } = connection.statement(LITTERED).get(now) as { found: number }
  return found === 1
}

export function sweep(step: Step, limit: number): Swept {
  const { connection, now } = step
  const swept: Swept = { requeued: [], failed: [], abandoned: [], removed: 0 }
  for (const run of step.take(connection.statement(LAPSED).all(now, limit) as Row[])) {
    const error = leaseLostError(run.attempt, now)
    step.addError(run, error)
    step.total('leasesLost')
    if (run.attempt >= run.policy.maxAttempts) {
      step.end(run, FAILED, error)
      swept.failed.push(run.id)
    } else {
      step.requeue(run, now)
      swept.requeued.push(run.id)
    }
  }
  step.flush()
  for (const run of step.take(connection.statement(ABANDONED).all(now, limit) as Row[])) {
    step.cancel(run, abandonedError(run.attempt, now))
    swept.abandoned.push(run.id)
  }
  step.flush()
  swept.removed = Number(connection.statement(REMOVE_EXPIRED).run(now, limit).changes)
  connection.statement(REMOVE_LANES).run(limit)
  forgetIdleGroups(connection, now, limit)
  connection.statement(REMOVE_NEWS).run(now - KEEP_NEWS_MS)
  return swept
}

// Far longer than any process takes to look; one that was frozen for longer finds its near cache expired.
const KEEP_NEWS_MS = 600_000

// In: now, result, row, token, lane, id. A run that is aside, or that has something tied to it, is left to the rules.
const COMPLETE_AT_ONCE = `
  UPDATE runs SET status = 2, token = NULL, done = token, lease_until = NULL, finished_at = ?1, result = CAST(?2 AS TEXT),
    fresh_until = max(?1 + result_ttl, started_at + coalesce(every, 0)),
    stale_until = max(?1 + result_ttl, started_at + coalesce(every, 0)) + stale_ttl,
    expires_at = max(?1 + retention, max(?1 + result_ttl, started_at + coalesce(every, 0)) + stale_ttl)
  WHERE seq = ?3 AND token = ?4 AND lane = ?5 AND id = ?6 AND slot = 0 AND tied = 0`
// In: lease end, progress or null, row, token, id.
const EXTEND = `
  UPDATE runs SET lease_until = ?, progress = coalesce(CAST(? AS TEXT), progress)
  WHERE seq = ? AND status = 1 AND token = ? AND id = ?`
const LITTERED = `
  SELECT EXISTS (SELECT 1 FROM runs WHERE status = 1 AND lease_until <= ?1)
    OR EXISTS (
      SELECT 1 FROM runs WHERE attended_until IS NOT NULL AND attended_until <= ?1 AND (status = 0 OR attended_running)
    )
    OR EXISTS (SELECT 1 FROM lanes l CROSS JOIN runs r WHERE r.status >= 2 AND r.lane = l.id AND r.expires_at <= ?1)
    AS found`
const LAPSED = `
  SELECT ${LIGHT_ROW} FROM runs r WHERE r.status = 1 AND r.lease_until <= ? ORDER BY r.lease_until LIMIT ?`
const ABANDONED = `
  SELECT ${LIGHT_ROW} FROM runs r
  WHERE r.attended_until IS NOT NULL AND r.attended_until <= ? AND (r.status = 0 OR r.attended_running)
  ORDER BY r.attended_until LIMIT ?`
const REMOVE_EXPIRED = `
  DELETE FROM runs WHERE seq IN (
    SELECT r.seq FROM lanes l CROSS JOIN runs r WHERE r.status >= 2 AND r.lane = l.id AND r.expires_at <= ? LIMIT ?
  )`
// So that a queue per customer does not leave a lane for every customer there ever was.
const REMOVE_LANES = `
  DELETE FROM lanes WHERE id IN (
    SELECT l.id FROM lanes l
    WHERE l.id > 0 AND l.pending = 0 AND l.running = 0
      AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.status >= 2 AND r.lane = l.id)
      AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.status = 0 AND r.slot <> 2 AND r.lane = l.id)
    LIMIT ?
  )`
const REMOVE_NEWS = 'DELETE FROM news WHERE at <= ?'
