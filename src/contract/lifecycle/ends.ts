// How attempts begin and runs end: begin, settle, expire, cancel, and the one order of effects of an end.
import type { AttemptOutcome, CancelAnswer, SettleAnswer } from '../engine.ts'
import { MAX_ERRORS } from '../engine.ts'
import { abandonedError, leaseLostError, supersededError } from '../store-errors.ts'
import { admitFollowUp, advanceNext, follow } from './births.ts'
import type { Ledger, RunRecord } from './ledger.ts'
import { fromWall, isLive, wallNow } from './ledger.ts'

/** A claim gives the run to a worker: its next attempt begins, under a new token. */
export function begin<Run extends RunRecord>(
  ledger: Ledger<Run>,
  run: Run,
  token: string,
  leaseMs: number,
): void {
  run.status = 'running'
  run.attempt++
  run.startedAt = ledger.now
  run.token = token
  run.leaseUntil = ledger.now + leaseMs
  ledger.moved(run, 'pending')
}

/** A worker reports how its attempt ended. Only the token of the present attempt is accepted. */
export function settle<Run extends RunRecord>(ledger: Ledger<Run>, outcome: AttemptOutcome): SettleAnswer {
  const run = ledger.run(outcome.id)
  if (run === undefined || run.status !== 'running' || run.token !== outcome.token) {
    if (run !== undefined && run.lastToken === outcome.token) return 'settled'
    ledger.total('outcomesRefused')
    return 'lost'
  }
  run.lastToken = run.token
  switch (outcome.kind) {
    case 'completed':
      end(ledger, run, 'completed', outcome.result)
      break
    case 'failed':
    case 'cancelled':
      addError(run, outcome.error)
      end(ledger, run, outcome.kind)
      break
    case 'retry':
      addError(run, outcome.error)
      run.runAt = undefined
      run.dueAt = ledger.now + outcome.delayMs
      requeue(ledger, run)
      ledger.total('retried')
      break
    case 'released':
      run.attempt--
      if (outcome.dueAt !== undefined) {
        run.runAt = outcome.dueAt
        run.dueAt = Math.max(run.createdAt, fromWall(ledger, outcome.dueAt))
      }
      run.params = outcome.params ?? run.params
      requeue(ledger, run)
  }
  for (const draft of outcome.then ?? []) admitFollowUp(ledger, draft, undefined)
  return 'settled'
}

/** The lease of a running run ran out: the run is due again, or fails if its attempts are spent. */
export function expire<Run extends RunRecord>(ledger: Ledger<Run>, run: Run): 'requeued' | 'failed' {
  addError(run, leaseLostError(run.attempt, wallNow(ledger)))
  ledger.total('leasesLost')
  if (run.attempt >= run.policy.maxAttempts) {
    end(ledger, run, 'failed')
    return 'failed'
  }
  run.runAt = undefined
  run.dueAt = ledger.now
  requeue(ledger, run)
  return 'requeued'
}

/** True if the run is to be cancelled because the time within which somebody had to ask for it is over. */
export const isAbandoned = ({ status, attended }: RunRecord, now: number): boolean =>
  attended !== undefined && attended.until <= now && (status !== 'running' || attended.running)

export function abandon<Run extends RunRecord>(ledger: Ledger<Run>, run: Run): void {
  cancel(ledger, run, abandonedError(run.attempt, wallNow(ledger)))
}

/** Another run takes its place. */
export function supersede<Run extends RunRecord>(ledger: Ledger<Run>, run: Run, by: string): void {
  cancel(ledger, run, supersededError(run.attempt, wallNow(ledger), by))
}

/** Ends a live run; its key is free at once. */
export function cancel<Run extends RunRecord>(
  ledger: Ledger<Run>,
  run: Run | undefined,
  reason: string | undefined,
): CancelAnswer {
  if (run === undefined) return 'unknown'
  if (run.status === 'cancelled') return 'cancelled'
  if (!isLive(run)) return 'ended'
  if (run.status === 'running') ledger.cancelled(run)
  if (reason !== undefined) addError(run, reason)
  end(ledger, run, 'cancelled')
  return 'cancelled'
}

/**
 * The end of a run, in this order: the record, the news, the next run in line, the follow-ups. A result is kept as the
 * accepted one only if the run still stands under its key: a run that was invalidated while it ran is not cached.
 */
function end<Run extends RunRecord>(
  ledger: Ledger<Run>,
  run: Run,
  status: 'completed' | 'failed' | 'cancelled',
  result?: string,
): void {
  const { now } = ledger
  const { policy, status: before } = run
  const slot = ledger.slotOf(run)
  const windowEnd = (run.startedAt ?? 0) + (policy.everyMs ?? 0)
  run.status = status
  run.token = undefined
  run.finishedAt = now
  run.expiresAt = now + policy.retentionMs
  if (status === 'completed') {
    const stands = run.place === 'stands'
    run.result = result as string
    run.freshUntil = stands ? Math.max(now + policy.resultTtlMs, windowEnd) : now
    run.staleUntil = stands ? run.freshUntil + policy.staleTtlMs : now
    run.expiresAt = Math.max(run.expiresAt, run.staleUntil)
    if (stands) accept(ledger, run)
  } else if (status === 'failed') {
    run.rememberedUntil = Math.max(now + policy.failureTtlMs, windowEnd)
    run.expiresAt = Math.max(run.expiresAt, run.rememberedUntil)
  }
  ledger.moved(run, before)
  ledger.total(status)
  if (run.attended !== undefined) {
    run.attended = undefined
    ledger.attended(run)
  }
  ledger.ended(run)
  if (run.place === 'behind') {
    slot.next = undefined
    ledger.put(run, 'aside')
  } else if (run.place === 'stands') {
    advanceNext(ledger, run)
  }
  for (const each of ledger.followUps(run)) follow(ledger, each, run)
  ledger.dropFollowUps(run)
}

/** The run's result is the accepted one of its key; an older one that stood in for it is moved aside. */
function accept<Run extends RunRecord>(ledger: Ledger<Run>, run: Run): void {
  const slot = ledger.slotOf(run)
  const older = slot.accepted
  slot.accepted = run
  if (older !== undefined && older !== run) ledger.put(older, 'aside')
}

/** The run goes back to its lane, due at `run.dueAt`. */
function requeue<Run extends RunRecord>(ledger: Ledger<Run>, run: Run): void {
  run.status = 'pending'
  run.token = undefined
  ledger.moved(run, 'running')
  ledger.ready(run)
}

function addError(run: RunRecord, error: string): void {
  run.errors = [...run.errors, error].slice(-MAX_ERRORS)
}
