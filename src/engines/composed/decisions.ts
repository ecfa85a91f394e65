// One atomic step over the documents of a few keys: what each verb of the contract decides, in the order in which they are asked.

import type {
  AttemptOutcome,
  CancelAnswer,
  Draft,
  Lease,
  LeaseAnswer,
  PromoteAnswer,
  SettleAnswer,
  Verdict,
} from '../../contract/engine.ts'
import { KEY_LENGTH } from '../../contract/engine.ts'
import { abandonedError, leaseLostError } from '../../contract/store-errors.ts'
import { admit } from './admission.ts'
import type { Run } from './document-store.ts'
import { isLive } from './document-store.ts'
import { addError, attendance, attendanceOf, Course } from './transitions.ts'

/** What becomes of a message: acknowledged, or looked at again after so long. */
export type Found = { run: Run } | { laterMs: number } | 'nothing' | 'absent' | 'paused'

/** What a timer came to. */
export type Expired = 'requeued' | 'failed' | 'abandoned' | 'over' | { laterMs: number }

export class Step extends Course {
  admit(draft: Draft): Verdict {
    return admit(this, draft)
  }

  /** For a message that says to look at this run. The timer of its lease is on its way already. */
  claim(id: string, ticket: number, token: string, leaseMs: number): Found {
    const run = this.table.find(id)
    if (run === undefined) return 'absent'
    if (run.status !== 'pending' || run.ticket !== ticket || this.isBehind(run)) return 'nothing'
    if (this.table.paused(run)) return 'paused'
    if (run.dueAt > this.now) return { laterMs: run.dueAt - this.now }
    run.status = 'running'
    run.attempt++
    run.startedAt = this.now
    run.token = token
    run.leaseUntil = this.now + leaseMs
    this.count(run, -1, 1)
    this.table.touch(run)
    return { run }
  }

  settle(outcome: AttemptOutcome): SettleAnswer {
    const run = this.table.find(outcome.id)
    if (run?.token === undefined || run.token !== outcome.token) {
      if (run !== undefined && run.lastToken === outcome.token) return 'settled'
      this.total('outcomesRefused')
      return 'lost'
    }
    run.lastToken = run.token
    this.dropLease(run)
    switch (outcome.kind) {
      case 'completed':
        this.end(run, 'completed', outcome.result)
        break
      case 'failed':
      case 'cancelled':
        addError(run, outcome.error)
        this.end(run, outcome.kind)
        break
      case 'retry':
        addError(run, outcome.error)
        run.dueAt = this.now + outcome.delayMs
        this.requeue(run)
        this.total('retried')
        break
      case 'released':
        run.attempt--
        run.dueAt = Math.max(run.createdAt, outcome.dueAt ?? run.dueAt)
        run.params = outcome.params ?? run.params
        this.requeue(run, true)
    }
    for (const draft of outcome.then ?? []) this.admitFollowUp(draft, undefined)
    return 'settled'
  }

  extend(lease: Lease, leaseMs: number): LeaseAnswer {
    const run = this.table.find(lease.id)
    if (run?.token === undefined || run.token !== lease.token)
      return run?.status === 'cancelled' ? 'cancelled' : 'lost'
    // A lease that was cut short needs a timer that goes off sooner.
    if (this.now + leaseMs < (run.leaseUntil as number))
      this.timers.push({ id: run.id, token: run.token, delayMs: leaseMs })
    run.leaseUntil = this.now + leaseMs
    if (lease.progress !== undefined) run.progress = lease.progress
    this.table.touch(run)
    return 'held'
  }

  /** For a timer, of a lease or of those who ask for the run: what its time has come to, or how long it still lasts. */
  expire(id: string, token: string): Expired {
    const run = this.table.find(id)
    const laterMs = this.leftOf(run, token)
    if (run === undefined || laterMs === undefined) return 'over'
    if (laterMs > 0) return { laterMs }
    if (run.token !== token) {
      this.cancelRun(run, abandonedError(run.attempt, this.now))
      return 'abandoned'
    }
    this.dropLease(run)
    addError(run, leaseLostError(run.attempt, this.now))
    this.total('leasesLost')
    if (run.attempt >= run.policy.maxAttempts) {
      this.end(run, 'failed')
      return 'failed'
    }
    run.dueAt = this.now
    this.requeue(run)
    return 'requeued'
  }

  /** How long until this timer's time has come; undefined where it is out of date. */
  leftOf(run: Run | undefined, token: string): number | undefined {
    if (run === undefined) return undefined
    if (run.token === token) return (run.leaseUntil as number) - this.now
    const { attended } = run
    if (attended === undefined || token !== attendance(attended.timer)) return undefined
    if (run.status === 'running' && !attended.running) return undefined
    return attended.until - this.now
  }

  /** Whether this timer may be ahead of the claim, or the wait, that it is for. */
  isUnwritten(run: Run | undefined, token: string): boolean {
    const number = attendanceOf(token)
    if (number === undefined) return run?.status === 'pending' && run.lastToken !== token
    return run === undefined || (isLive(run) && number > (run.attended?.timer ?? Number.POSITIVE_INFINITY))
  }

  cancel(id: string, reason?: string): CancelAnswer {
    const run = this.read(id)
    if (run === undefined) return 'unknown'
    if (run.status === 'cancelled') return 'cancelled'
    if (!isLive(run)) return 'ended'
    this.cancelRun(run, reason)
    return 'cancelled'
  }

  promote(id: string, priority = Number.NEGATIVE_INFINITY): PromoteAnswer {
    const run = this.read(id)
    if (run === undefined) return 'unknown'
    if (!isLive(run)) return 'ended'
    if (run.status === 'running') return 'running'
    this.advance(run, Math.min(run.dueAt, this.now), Math.max(run.priority, priority))
    return 'due'
  }

  /** Whether anything was forgotten. */
  invalidate(key: string): boolean {
    const { now } = this
    const slot = this.slot(key)
    const { run, accepted } = slot
    let changed = false
    if (accepted !== undefined) {
      if (now < (accepted.staleUntil as number)) {
        accepted.freshUntil = Math.min(now, accepted.freshUntil as number)
        accepted.staleUntil = now
        changed = true
      }
      this.table.dropAccepted(slot)
    }
    if (run?.status === 'failed' && now < (run.rememberedUntil as number)) {
      run.rememberedUntil = now
      this.table.touch(run)
      changed = true
    }
    if (run?.status === 'running') {
      this.table.moveAside(slot)
      this.advanceNext(slot)
      changed = true
    }
    return changed
  }

  /** Whether it has outlived its time, and is cleared away. */
  forget(id: string): boolean {
    const run = this.table.find(id)
    if (run === undefined || this.read(id) !== undefined) return false
    this.table.forget(run)
    return true
  }

  /** By its id, or by a key what stands there; until it has ended and outlived its time. */
  read(idOrKey: string): Run | undefined {
    const run = idOrKey.length === KEY_LENGTH ? this.#standing(idOrKey) : this.table.find(idOrKey)
    return run === undefined || isLive(run) || this.now < (run.expiresAt as number) ? run : undefined
  }

  /** Whoever reads a run asks for it. */
  attend(idOrKey: string): void {
    const run = this.read(idOrKey)
    if (run?.attended === undefined) return
    run.attended.until = this.now + run.attended.ms
    this.table.touch(run)
  }

  #standing(key: string): Run | undefined {
    const { run, accepted } = this.slot(key)
    return run ?? accepted
  }
}
