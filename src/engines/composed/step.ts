// One atomic step over the documents of a few keys: what the contract decides, and what is to be written and sent for it.

import { leaseLostError } from '../../endings.ts'
import type {
  CancelAnswer,
  Draft,
  FollowUp,
  Lease,
  LeaseAnswer,
  Outcome,
  Parent,
  SettleAnswer,
  Total,
  Verdict,
} from '../../engine.ts'
import { KEY_LENGTH, MAX_ERRORS, REFRESH_PRIORITY } from '../../engine.ts'
import type { Run, Slot } from './documents.ts'
import { dueOf, isLive, runOf, standingOf } from './documents.ts'
import type { Table } from './table.ts'

// A message or a timer that its broker has lost would leave its run under its key for ever: whoever joins it so long after
// it should have moved announces it once more.
const REMIND_MS = 60_000

/** A message to be sent: where this run waits now. */
export interface Announcement {
  run: Run
  /** Ahead of its lane: it has had its turn already. */
  front: boolean
}

export interface Timer {
  id: string
  token: string
  delayMs: number
}

/** What becomes of a message: acknowledged, or looked at again after so long. */
export type Found = { run: Run } | { laterMs: number } | 'nothing' | 'absent'

export class Step {
  readonly now: number
  readonly table: Table
  readonly announcements = new Map<string, Announcement>()
  readonly timers: Timer[] = []
  readonly ended: Run[] = []
  readonly cancelled: string[] = []
  readonly totals: Partial<Record<Total, number>> = {}
  counted = 0
  readonly lanes = new Map<string, [queue: string, name: string, pending: number, running: number]>()

  constructor(table: Table, now: number) {
    this.table = table
    this.now = now
  }

  admit(draft: Draft): Verdict {
    const { now } = this
    const slot = this.#slot(draft.id)
    const { run, accepted } = slot
    const usable = !draft.refresh && accepted !== undefined && now < (accepted.staleUntil as number)

    const repeated = this.table.find(draft.id)
    if (repeated !== undefined) {
      if (usable && accepted !== repeated) return verdict('stale', accepted, { refreshId: draft.id })
      return verdict('created', repeated)
    }

    const live = run !== undefined && isLive(run)
    const remembered = run?.status === 'failed' && now < (run.rememberedUntil as number)
    const answering = usable ? accepted : live || (remembered && !draft.refresh) ? run : undefined
    const sameParams =
      draft.onMismatch === undefined || answering === undefined || answering.params === draft.params
    if (answering !== undefined && !sameParams && draft.onMismatch === 'reject') {
      this.#total('rejected')
      return verdict('rejected', answering, { sameParams })
    }
    if (answering === undefined) {
      if (accepted !== undefined && now >= (accepted.staleUntil as number)) this.table.dropAccepted(slot)
      this.#total('created')
      return verdict('created', this.#create(draft, slot))
    }
    if (usable) {
      this.#followAtOnce(draft, answering)
      if (now < (answering.freshUntil as number)) {
        this.#total('hit')
        return verdict('hit', answering, { sameParams })
      }
      this.#total('stale')
      let refreshId = live ? run.id : undefined
      if (!live && !remembered) {
        const priority = Math.min(draft.priority, REFRESH_PRIORITY)
        refreshId = this.#create({ ...draft, then: [], priority }, slot).id
      }
      return verdict('stale', answering, { sameParams, ...(refreshId === undefined ? {} : { refreshId }) })
    }
    if (live) {
      this.#merge(answering, draft)
      this.#total('joined')
      return verdict('joined', answering, { sameParams })
    }
    this.#followAtOnce(draft, answering)
    this.#total('negative')
    return verdict('negative', answering, { sameParams })
  }

  /** For a message that says to look at this run. The timer of its lease is on its way already. */
  claim(id: string, ticket: number, token: string, leaseMs: number): Found {
    const run = this.table.find(id)
    if (run === undefined) return 'absent'
    if (run.status !== 'pending' || run.ticket !== ticket) return 'nothing'
    if (run.dueAt > this.now) return { laterMs: run.dueAt - this.now }
    run.status = 'running'
    run.attempt++
    run.startedAt = this.now
    run.token = token
    run.leaseUntil = this.now + leaseMs
    this.#count(run, -1, 1)
    this.table.touch(run)
    return { run }
  }

  settle(outcome: Outcome): SettleAnswer {
    const run = this.table.find(outcome.id)
    if (run?.token === undefined || run.token !== outcome.token) {
      if (run !== undefined && run.lastToken === outcome.token) return 'settled'
      this.#total('lost')
      return 'lost'
    }
    run.lastToken = run.token
    this.#dropLease(run)
    switch (outcome.kind) {
      case 'completed':
        this.#end(run, 'completed', outcome.result)
        break
      case 'failed':
        addError(run, outcome.error)
        this.#end(run, 'failed', outcome.error)
        break
      case 'retry':
        addError(run, outcome.error)
        run.dueAt = this.now + outcome.delayMs
        this.#requeue(run)
        this.#total('retried')
        break
      case 'released':
        run.attempt--
        this.#requeue(run, true)
    }
    for (const draft of outcome.then ?? []) this.#admitFollowUp(draft, undefined)
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

  /** For a timer: brings the run back if its lease has expired, or says how long it still lasts. */
  expire(id: string, token: string): 'requeued' | 'failed' | 'over' | { laterMs: number } {
    const run = this.table.find(id)
    if (run?.token !== token) return 'over'
    const laterMs = (run.leaseUntil as number) - this.now
    if (laterMs > 0) return { laterMs }
    const error = leaseLostError(run.attempt, this.now)
    this.#dropLease(run)
    addError(run, error)
    this.#total('expired')
    if (run.attempt >= run.policy.maxAttempts) {
      this.#end(run, 'failed', error)
      return 'failed'
    }
    run.dueAt = this.now
    this.#requeue(run)
    return 'requeued'
  }

  cancel(id: string, reason?: string): CancelAnswer {
    const run = this.read(id)
    if (run === undefined) return 'unknown'
    if (run.status === 'cancelled') return 'cancelled'
    if (!isLive(run)) return 'ended'
    if (run.status === 'running') {
      this.cancelled.push(id)
      this.#dropLease(run)
    } else {
      this.#count(run, -1, 0)
    }
    if (reason !== undefined) addError(run, reason)
    this.#end(run, 'cancelled', reason)
    return 'cancelled'
  }

  /** Whether anything was forgotten. */
  invalidate(key: string): boolean {
    const { now } = this
    const slot = this.#slot(key)
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

  /** Until it has ended and outlived its time. */
  read(id: string): Run | undefined {
    const run = this.table.find(id)
    return run === undefined || isLive(run) || this.now < (run.expiresAt as number) ? run : undefined
  }

  /** What has ended and outlived its time stands there no more. */
  #slot(id: string): Slot {
    const slot = this.table.slot(id.slice(0, KEY_LENGTH))
    const { run, accepted } = slot
    if (run !== undefined && !isLive(run) && (run.expiresAt as number) <= this.now) delete slot.run
    if (accepted !== undefined && (accepted.expiresAt as number) <= this.now) delete slot.accepted
    return slot
  }

  #create(draft: Draft, slot: Slot, parent?: Parent): Run {
    const run = runOf(draft, this.now, parent)
    this.table.put(slot, run)
    this.#requeue(run)
    return run
  }

  #merge(run: Run, draft: Draft): void {
    let changed = false
    if (draft.policy.retentionMs > run.policy.retentionMs) {
      run.policy.retentionMs = draft.policy.retentionMs
      changed = true
    }
    for (const follow of draft.then ?? []) {
      if (run.then?.some(({ draft: { id } }) => id === follow.draft.id)) continue
      run.then = [...(run.then ?? []), follow]
      changed = true
    }
    const dueAt = run.attempt === 0 ? Math.min(run.dueAt, dueOf(draft, this.now)) : run.dueAt
    const priority = Math.max(run.priority, draft.priority)
    if (dueAt !== run.dueAt || priority !== run.priority) {
      run.dueAt = dueAt
      run.priority = priority
      if (run.status === 'pending') this.#announce(run)
      changed = true
    } else {
      changed = this.#remind(run) || changed
    }
    if (changed) this.table.touch(run)
  }

  #remind(run: Run): boolean {
    const overdueAt = run.status === 'pending' ? run.dueAt : (run.leaseUntil as number)
    if (this.now < Math.max(overdueAt, run.remindedAt ?? 0) + REMIND_MS) return false
    run.remindedAt = this.now
    if (run.status === 'pending') this.announcements.set(run.id, { run, front: false })
    else this.timers.push({ id: run.id, token: run.token as string, delayMs: 0 })
    return true
  }

  #requeue(run: Run, front = false): void {
    run.status = 'pending'
    this.#count(run, 1, 0)
    this.#announce(run, front)
    this.table.touch(run)
  }

  /** Messages that were sent before lose their meaning. */
  #announce(run: Run, front = false): void {
    run.ticket++
    this.announcements.set(run.id, { run, front })
  }

  #dropLease(run: Run): void {
    delete run.token
    delete run.leaseUntil
    this.#count(run, 0, -1)
  }

  #end(run: Run, status: 'completed' | 'failed' | 'cancelled', value?: string): void {
    const { now } = this
    const { policy } = run
    run.status = status
    run.finishedAt = now
    run.expiresAt = now + policy.retentionMs
    if (status === 'completed') {
      const slot = this.table.slot(run.id.slice(0, KEY_LENGTH))
      const cached = slot.run === run
      run.result = value as string
      run.freshUntil = cached ? now + policy.resultTtlMs : now
      run.staleUntil = cached ? run.freshUntil + policy.staleTtlMs : now
      run.expiresAt = Math.max(run.expiresAt, run.staleUntil)
      if (cached) {
        this.table.dropAccepted(slot)
        slot.accepted = run
      }
    } else if (status === 'failed') {
      run.rememberedUntil = now + policy.failureTtlMs
      run.expiresAt = Math.max(run.expiresAt, run.rememberedUntil)
    }
    const follows = run.then ?? []
    delete run.then
    this.table.touch(run)
    this.#total(status)
    this.ended.push(run)
    for (const follow of follows) this.#follow(follow, run)
  }

  #followAtOnce(draft: Draft, run: Run): void {
    for (const follow of draft.then ?? []) this.#follow(follow, run)
  }

  #follow(follow: FollowUp, run: Run): void {
    if (follow.on !== 'both' && (follow.on === 'success') !== (run.status === 'completed')) return
    if (follow.sameParent) {
      this.#admitFollowUp(follow.draft, run.parent)
      return
    }
    const value = run.status === 'completed' ? run.result : run.errors.at(-1)
    const parent: Parent = { id: run.id, name: run.name, status: run.status as Parent['status'] }
    this.#admitFollowUp(follow.draft, value === undefined ? parent : { ...parent, value })
  }

  #admitFollowUp(draft: Draft, parent: Parent | undefined): void {
    if (this.table.find(draft.id) !== undefined) return
    this.#total('created')
    this.#create(draft, this.#slot(draft.id), parent)
  }

  #count({ queue, name }: Run, pending: number, running: number): void {
    const lane = `${queue}\0${name}`
    const counts = this.lanes.get(lane) ?? [queue, name, 0, 0]
    counts[2] += pending
    counts[3] += running
    this.lanes.set(lane, counts)
  }

  #total(total: Total): void {
    this.counted++
    this.totals[total] = (this.totals[total] ?? 0) + 1
  }
}

function addError(run: Run, error: string): void {
  run.errors = [...run.errors, error].slice(-MAX_ERRORS)
}

function verdict(
  outcome: Verdict['outcome'],
  run: Run,
  more: { sameParams?: boolean; refreshId?: string } = {},
): Verdict {
  return { outcome, entry: standingOf(run), sameParams: true, ...more }
}
