// The course of a run within one atomic step: created, joined, put back, ended, followed; what is to be written and sent for it.
import type { Draft, FollowUp, Parent, Total } from '../../contract/engine.ts'
import { KEY_LENGTH, MAX_ERRORS } from '../../contract/engine.ts'
import type { Run, Slot } from './document-store.ts'
import { dueOf, gateOf, isLive, runOf } from './document-store.ts'
import type { Table } from './documents.ts'
import type { Gate } from './group-queue.ts'
import type { Lane } from './lanes.ts'
import type { Ready, Timer, TurnMessage } from './messages.ts'

// A message or a timer that its broker has lost would leave its run under its key for ever: whoever joins it so long after
// it should have moved announces it once more.
export const REMIND_MS = 60_000

/** A message to be sent: where this run waits now. */
export interface Announcement {
  run: Run
  /** Ahead of its lane: it has had its turn already. */
  front: boolean
}

export class Course {
  readonly now: number
  readonly table: Table
  readonly announcements = new Map<string, Announcement>()
  readonly timers: Timer[] = []
  readonly turns: TurnMessage[] = []
  /** Messages that were looked at and are to come again, as they were. */
  readonly resent: { ready: Ready; lane: Lane; delayMs: number }[] = []
  readonly ended: Run[] = []
  readonly cancelled: string[] = []
  readonly totals: Partial<Record<Total, number>> = {}
  counted = 0
  readonly lanes = new Map<string, [queue: string, name: string, pending: number, running: number]>()

  constructor(table: Table, now: number) {
    this.table = table
    this.now = now
  }

  /** What has ended and outlived its time stands there no more. */
  slot(id: string): Slot {
    const slot = this.table.slot(id.slice(0, KEY_LENGTH))
    const { run, accepted } = slot
    if (run !== undefined && !isLive(run) && (run.expiresAt as number) <= this.now) delete slot.run
    if (accepted !== undefined && (accepted.expiresAt as number) <= this.now) delete slot.accepted
    return slot
  }

  create(draft: Draft, slot: Slot, parent?: Parent): Run {
    const run = runOf(draft, this.now, parent)
    this.table.put(slot, run)
    this.requeue(run)
    return run
  }

  /** Nothing announces it until what it waits behind has ended. */
  createBehind(draft: Draft, slot: Slot): Run {
    const run = runOf(draft, this.now, undefined)
    this.table.putBehind(slot, run)
    this.#timeAttended(run)
    this.count(run, 1, 0)
    return run
  }

  /** The run takes over what the draft wants otherwise. */
  replace(run: Run, draft: Draft): void {
    run.params = draft.params
    if (draft.extra === undefined) delete run.extra
    else run.extra = draft.extra
    this.table.touch(run)
    if (run.attempt > 0) return
    const before = run.dueAt
    run.dueAt = dueOf(draft, this.now, run.createdAt)
    // Put off: the message that is on its way is sent back when it comes before its time.
    if (run.dueAt < before && !this.isBehind(run)) this.announce(run)
  }

  join(run: Run, draft: Draft): void {
    let changed = this.#attend(run, draft)
    if (draft.policy.retentionMs > run.policy.retentionMs) {
      run.policy.retentionMs = draft.policy.retentionMs
      changed = true
    }
    for (const follow of draft.then ?? []) {
      if (run.then?.some(({ draft: { id } }) => id === follow.draft.id)) continue
      run.then = [...(run.then ?? []), follow]
      changed = true
    }
    const dueAt = run.attempt === 0 ? Math.min(run.dueAt, dueOf(draft, this.now, run.createdAt)) : run.dueAt
    const priority = Math.max(run.priority, draft.priority)
    changed = this.advance(run, dueAt, priority) || this.#remind(run) || changed
    if (changed) this.table.touch(run)
  }

  /** Whether that changes anything. */
  advance(run: Run, dueAt: number, priority: number): boolean {
    if (dueAt === run.dueAt && priority === run.priority) return false
    run.dueAt = dueAt
    run.priority = priority
    if (run.status === 'pending' && !this.isBehind(run)) this.announce(run)
    this.table.touch(run)
    return true
  }

  requeue(run: Run, front = false): void {
    run.status = 'pending'
    this.count(run, 1, 0)
    this.announce(run, front)
    this.#timeAttended(run)
    this.table.touch(run)
  }

  /** Messages that were sent before lose their meaning. */
  announce(run: Run, front = false): void {
    run.ticket++
    this.announcements.set(run.id, { run, front })
  }

  dropLease(run: Run): void {
    delete run.token
    delete run.leaseUntil
    this.count(run, 0, -1)
    if (run.group !== undefined) this.makeRoom(run.id, run.name, this.table.gate(gateOf(run.name, run.group)))
  }

  /** Whoever waits in line gets a turn, where none is under way. */
  makeRoom(id: string, name: string, gate: Gate): void {
    gate.over(id)
    for (const queue of gate.queues) this.offerTurn(gate, queue, name)
  }

  /** A turn, if there is none under way, or if that was lost on its way. */
  offerTurn(gate: Gate, queue: string, name: string): void {
    const turn = gate.turn(queue)
    if (turn === undefined) {
      this.giveTurn(gate, queue, name)
    } else if (this.now >= turn.at + REMIND_MS) {
      // The same once more, so that one which is only late keeps its place.
      const number = gate.repeatTurn(queue, this.now)
      this.turns.push({ gate: gate.id, queue, name, number, delayMs: 0 })
    }
  }

  giveTurn(gate: Gate, queue: string, name: string, delayMs = 0): void {
    const number = gate.giveTurn(queue, this.now + delayMs)
    this.turns.push({ gate: gate.id, queue, name, number, delayMs })
  }

  cancelRun(run: Run, reason: string | undefined): void {
    if (run.status === 'running') {
      this.cancelled.push(run.id)
      this.dropLease(run)
    } else {
      this.count(run, -1, 0)
    }
    if (reason !== undefined) addError(run, reason)
    this.end(run, 'cancelled')
  }

  end(run: Run, status: 'completed' | 'failed' | 'cancelled', result?: string): void {
    const { now } = this
    const { policy } = run
    const slot = this.table.slot(run.id.slice(0, KEY_LENGTH))
    const windowEnd = (run.startedAt ?? 0) + (policy.everyMs ?? 0)
    run.status = status
    run.finishedAt = now
    run.expiresAt = now + policy.retentionMs
    delete run.attended
    if (status === 'completed') {
      const cached = slot.run === run
      run.result = result as string
      run.freshUntil = cached ? Math.max(now + policy.resultTtlMs, windowEnd) : now
      run.staleUntil = cached ? run.freshUntil + policy.staleTtlMs : now
      run.expiresAt = Math.max(run.expiresAt, run.staleUntil)
      if (cached) {
        this.table.dropAccepted(slot)
        slot.accepted = run
      }
    } else if (status === 'failed') {
      run.rememberedUntil = Math.max(now + policy.failureTtlMs, windowEnd)
      run.expiresAt = Math.max(run.expiresAt, run.rememberedUntil)
    }
    const follows = run.then ?? []
    delete run.then
    this.table.touch(run)
    this.total(status)
    this.ended.push(run)
    for (const follow of follows) this.#follow(follow, run)
    if (slot.next === run) this.table.dropNext(slot)
    else if (slot.run === run) this.advanceNext(slot)
  }

  /** What waits behind the run that stood here takes its place. */
  advanceNext(slot: Slot): void {
    const { next } = slot
    if (next === undefined) return
    delete slot.next
    this.table.put(slot, next)
    this.announce(next)
  }

  isBehind(run: Run): boolean {
    return this.table.slot(run.id.slice(0, KEY_LENGTH)).next === run
  }

  followAtOnce(draft: Draft, run: Run): void {
    for (const follow of draft.then ?? []) this.#follow(follow, run)
  }

  admitFollowUp(draft: Draft, parent: Parent | undefined): void {
    if (this.table.find(draft.id) !== undefined) return
    this.total('created')
    this.create(draft, this.slot(draft.id), parent)
  }

  count({ queue, name }: Run, pending: number, running: number): void {
    const lane = `${queue}\0${name}`
    const counts = this.lanes.get(lane) ?? [queue, name, 0, 0]
    counts[2] += pending
    counts[3] += running
    this.lanes.set(lane, counts)
  }

  total(total: Total): void {
    this.counted++
    this.totals[total] = (this.totals[total] ?? 0) + 1
  }

  #attend(run: Run, { attended }: Draft): boolean {
    if (run.attended === undefined) return false
    if (attended === undefined) {
      delete run.attended
      return true
    }
    const ms = Math.max(run.attended.ms, attended.ms)
    const running = run.attended.running && attended.running
    run.attended = { ...run.attended, ms, running, until: this.now + ms }
    return true
  }

  /** A timer that went off while the run was not to be cut short has said nothing; each new wait has one of its own. */
  #timeAttended({ id, attended }: Run): void {
    if (attended === undefined) return
    attended.timer++
    const delayMs = Math.max(0, attended.until - this.now)
    this.timers.push({ id, token: attendance(attended.timer), delayMs })
  }

  #remind(run: Run): boolean {
    if (this.isBehind(run)) return false
    const overdueAt = run.status === 'pending' ? run.dueAt : (run.leaseUntil as number)
    if (this.now < Math.max(overdueAt, run.remindedAt ?? 0) + REMIND_MS) return false
    run.remindedAt = this.now
    if (run.status === 'pending') this.announcements.set(run.id, { run, front: false })
    else this.timers.push({ id: run.id, token: run.token as string, delayMs: 0 })
    return true
  }

  #follow(follow: FollowUp, run: Run): void {
    if (follow.on !== 'both' && (follow.on === 'success') !== (run.status === 'completed')) return
    if (follow.sameParent) {
      this.admitFollowUp(follow.draft, run.parent)
      return
    }
    const value = run.status === 'completed' ? run.result : run.errors.at(-1)
    const parent: Parent = { id: run.id, name: run.name, status: run.status as Parent['status'] }
    this.admitFollowUp(follow.draft, value === undefined ? parent : { ...parent, value })
  }
}

/** Stands where a lease's timer has its token. */
export const attendance = (timer: number): string => `attended.${timer}`

export const attendanceOf = (token: string): number | undefined =>
  token.startsWith('attended.') ? Number(token.slice('attended.'.length)) : undefined

export function addError(run: Run, error: string): void {
  run.errors = [...run.errors, error].slice(-MAX_ERRORS)
}
