// The memory engine's state, and the steps that a run takes through it: created, joined, put back, ended, followed.

import { Heap } from '../../base/priority-queue.ts'
import type { Draft, FollowUp, Parent, Total } from '../../contract/engine.ts'
import { KEY_LENGTH, MAX_ERRORS } from '../../contract/engine.ts'
import { supersededError } from '../../contract/store-errors.ts'
import type { Hearing } from './lanes.ts'
import { Lanes } from './lanes.ts'
import type { Run, Slot } from './runs.ts'
import { dueOf, isLive, runOf, standingOf } from './runs.ts'

export class MemoryState {
  readonly slots = new Map<string, Slot>()
  readonly runs = new Map<string, Run>()
  /** By id: small, and so near, however many wait or have ended. */
  readonly running = new Map<string, Run>()
  /** Those that end when nobody asks for them. */
  readonly attended = new Set<Run>()
  readonly lanes = new Lanes<Run>()
  readonly ended = new Heap<Run>((a, b) => a.expiresAt - b.expiresAt)
  readonly totals: Partial<Record<Total, number>> = {}
  #seq = 0

  slot(key: string, now: number): Slot {
    let slot = this.slots.get(key)
    if (slot === undefined) this.slots.set(key, (slot = {}))
    if (slot.run !== undefined && !isLive(slot.run) && slot.run.expiresAt <= now) slot.run = undefined
    if (slot.accepted !== undefined && slot.accepted.expiresAt <= now) slot.accepted = undefined
    return slot
  }

  /** By its id; by a key, the run that stands there. */
  find(idOrKey: string, now: number): Run | undefined {
    const slot = idOrKey.length === KEY_LENGTH ? this.slots.get(idOrKey) : undefined
    const run = slot === undefined ? this.runs.get(idOrKey) : (slot.run ?? slot.accepted)
    return run !== undefined && !isLive(run) && run.expiresAt <= now ? undefined : run
  }

  /** A run that stood here and has ended needs no moving: it stays among the runs, under its id, until it expires. */
  create(draft: Draft, slot: Slot, now: number, watching?: Hearing, parent?: Parent): Run {
    const run = this.#add(draft, slot, now, watching, parent)
    slot.run = run
    this.requeue(run, now)
    return run
  }

  /** It has a place in no lane until what it waits behind has ended. */
  createBehind(draft: Draft, slot: Slot, now: number, watching: Hearing): Run {
    const run = this.#add(draft, slot, now, watching)
    slot.next = run
    this.lanes.add(run, 1, 0)
    return run
  }

  /** The run takes over what the draft wants otherwise. */
  replace(run: Run, draft: Draft, now: number): void {
    run.params = draft.params
    run.extra = draft.extra
    if (run.attempt > 0) return
    run.dueAt = dueOf(draft, now, run.createdAt)
    this.#place(run, now)
  }

  join(run: Run, draft: Draft, now: number, asking: Hearing): void {
    const { retentionMs } = draft.policy
    if (retentionMs > run.policy.retentionMs) run.policy = { ...run.policy, retentionMs }
    for (const follow of draft.then ?? []) {
      run.followUps ??= new Map()
      if (!run.followUps.has(follow.draft.id)) run.followUps.set(follow.draft.id, follow)
    }
    if (draft.watch) this.watch(run, asking)
    this.#attend(run, draft, now)
    const dueAt = run.attempt === 0 ? Math.min(run.dueAt, dueOf(draft, now, run.createdAt)) : run.dueAt
    const priority = Math.max(run.priority, draft.priority)
    this.advance(run, dueAt, priority, now)
  }

  advance(run: Run, dueAt: number, priority: number, now: number): void {
    if (dueAt === run.dueAt && priority === run.priority) return
    run.dueAt = dueAt
    run.priority = priority
    this.#place(run, now)
  }

  watch(run: Run, watching: Hearing): void {
    run.watchers ??= new Set()
    run.watchers.add(watching)
  }

  requeue(run: Run, now: number): void {
    run.status = 'pending'
    this.lanes.add(run, 1, 0)
    this.lanes.enqueue(run, now)
  }

  dropLease(run: Run): void {
    run.token = undefined
    run.owner = undefined
    this.running.delete(run.id)
    this.lanes.add(run, 0, -1)
    this.lanes.over(run)
  }

  supersede(run: Run, by: string, now: number): void {
    this.cancel(run, now, supersededError(run.attempt, now, by))
  }

  cancel(run: Run, now: number, reason: string | undefined): void {
    if (run.status === 'running') {
      run.owner?.hear({ kind: 'cancelled', id: run.id })
      this.dropLease(run)
    } else {
      this.lanes.add(run, -1, 0)
    }
    if (reason !== undefined) this.addError(run, reason)
    this.end(run, 'cancelled', now)
  }

  end(run: Run, status: 'completed' | 'failed' | 'cancelled', now: number, result?: string): void {
    const { policy, slot } = run
    const windowEnd = (run.startedAt as number) + (policy.everyMs ?? 0)
    run.status = status
    run.finishedAt = now
    run.expiresAt = now + policy.retentionMs
    if (status === 'completed') {
      const cached = slot.run === run
      run.result = result as string
      run.freshUntil = cached ? Math.max(now + policy.resultTtlMs, windowEnd) : now
      run.staleUntil = cached ? run.freshUntil + policy.staleTtlMs : now
      run.expiresAt = Math.max(run.expiresAt, run.staleUntil)
      if (cached) slot.accepted = run
    } else if (status === 'failed') {
      run.rememberedUntil = Math.max(now + policy.failureTtlMs, windowEnd)
      run.expiresAt = Math.max(run.expiresAt, run.rememberedUntil)
    }
    this.total(status)
    this.ended.push(run)
    this.attended.delete(run)
    const { watchers, followUps } = run
    run.watchers = undefined
    run.followUps = undefined
    for (const watcher of watchers ?? []) watcher.hear({ kind: 'ended', id: run.id, run: standingOf(run) })
    for (const follow of followUps?.values() ?? []) this.#follow(follow, run, now)
    if (slot.next === run) slot.next = undefined
    else if (slot.run === run) this.#advanceNext(slot, now)
  }

  /** The draft's follow-ups, where the run that answers it has ended already. */
  followAtOnce(draft: Draft, run: Run, now: number): void {
    for (const follow of draft.then ?? []) this.#follow(follow, run, now)
  }

  admitFollowUp(draft: Draft, parent: Parent | undefined, now: number): void {
    if (this.runs.has(draft.id)) return
    this.total('created')
    this.create(draft, this.slot(draft.id.slice(0, KEY_LENGTH), now), now, undefined, parent)
  }

  invalidate(slot: Slot, now: number): boolean {
    const { run, accepted } = slot
    let changed = false
    if (accepted !== undefined && now < (accepted.staleUntil as number)) {
      accepted.freshUntil = Math.min(now, accepted.freshUntil as number)
      accepted.staleUntil = now
      changed = true
    }
    slot.accepted = undefined
    if (run?.status === 'failed' && now < run.rememberedUntil) {
      run.rememberedUntil = now
      changed = true
    }
    if (run?.status === 'running') {
      slot.run = undefined
      this.#advanceNext(slot, now)
      changed = true
    }
    return changed
  }

  forget(run: Run): void {
    this.runs.delete(run.id)
    const key = run.id.slice(0, KEY_LENGTH)
    const slot = this.slots.get(key)
    if (slot === undefined) return
    if (slot.run === run) slot.run = undefined
    if (slot.accepted === run) slot.accepted = undefined
    if (slot.run === undefined && slot.accepted === undefined) this.slots.delete(key)
  }

  addError(run: Run, error: string): void {
    run.errors = [...run.errors, error].slice(-MAX_ERRORS)
  }

  total(total: Total): void {
    this.totals[total] = (this.totals[total] ?? 0) + 1
  }

  #add(draft: Draft, slot: Slot, now: number, watching?: Hearing, parent?: Parent): Run {
    const run = runOf(draft, slot, ++this.#seq, now, parent)
    if (draft.watch && watching !== undefined) this.watch(run, watching)
    if (run.attended !== undefined) this.attended.add(run)
    this.runs.set(run.id, run)
    return run
  }

  #attend(run: Run, { attended }: Draft, now: number): void {
    if (run.attended === undefined) return
    if (attended === undefined) {
      run.attended = undefined
      this.attended.delete(run)
      return
    }
    const ms = Math.max(run.attended.ms, attended.ms)
    run.attended = { ms, running: run.attended.running && attended.running, until: now + ms }
  }

  /** Its place in the lane, as it is now; what runs, or waits behind another, has none. */
  #place(run: Run, now: number): void {
    if (run.status === 'pending' && run.slot.next !== run) this.lanes.enqueue(run, now)
  }

  #advanceNext(slot: Slot, now: number): void {
    const { next } = slot
    if (next === undefined) return
    slot.next = undefined
    slot.run = next
    this.lanes.enqueue(next, now)
  }

  #follow(follow: FollowUp, run: Run, now: number): void {
    if (follow.on !== 'both' && (follow.on === 'success') !== (run.status === 'completed')) return
    if (follow.sameParent) {
      this.admitFollowUp(follow.draft, run.parent, now)
      return
    }
    const value = run.status === 'completed' ? run.result : run.errors.at(-1)
    const parent: Parent = { id: run.id, name: run.name, status: run.status as Parent['status'] }
    this.admitFollowUp(follow.draft, value === undefined ? parent : { ...parent, value }, now)
  }
}
