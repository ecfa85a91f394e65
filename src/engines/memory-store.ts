// The memory engine's state and rules: the contract in its plainest form, and the reference to read it in.
import { randomBytes } from 'node:crypto'
import type {
  CancelAnswer,
  Claims,
  Counts,
  Draft,
  Entry,
  Filter,
  FollowUp,
  Lease,
  LeaseAnswer,
  Outcome,
  Page,
  Parent,
  Selector,
  SettleAnswer,
  Swept,
  Total,
  Verdict,
  Want,
} from '../engine.ts'
import { isEnded, KEY_LENGTH, leaseLostError, MAX_BATCH, MAX_ERRORS, REFRESH_PRIORITY } from '../engine.ts'
import { Heap } from '../heap.ts'
import type { Hearing } from './memory-lanes.ts'
import { Lanes } from './memory-lanes.ts'
import type { Run, Slot } from './memory-runs.ts'
import { dueOf, entryOf, isLive, runOf, standingOf, verdict } from './memory-runs.ts'

/** Several `MemoryEngine`s of one process may share it, as connections share a server. */
export class MemoryStore {
  readonly #now: () => number
  readonly #slots = new Map<string, Slot>()
  readonly #runs = new Map<string, Run>()
  readonly #running = new Set<Run>()
  readonly #lanes = new Lanes<Run>()
  readonly #ended = new Heap<Run>((a, b) => a.expiresAt - b.expiresAt)
  readonly #totals: Partial<Record<Total, number>> = {}
  readonly #engines = new Set<Hearing>()
  #seq = 0

  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  join(engine: Hearing): void {
    this.#engines.add(engine)
  }

  leave(engine: Hearing): void {
    this.#engines.delete(engine)
    this.#lanes.leave(engine)
  }

  admit(draft: Draft, asking: Hearing): Verdict {
    const now = this.#now()
    const slot = this.#slot(draft.id.slice(0, KEY_LENGTH), now)
    const { run, accepted } = slot
    const usable = !draft.refresh && accepted !== undefined && now < (accepted.staleUntil as number)

    const repeated = this.#runs.get(draft.id)
    if (repeated !== undefined) {
      if (usable && accepted !== repeated) return verdict('stale', accepted, { refreshId: draft.id })
      return verdict('created', repeated)
    }

    const live = run !== undefined && isLive(run)
    const remembered = run?.status === 'failed' && now < run.rememberedUntil
    const answering = usable ? accepted : live || (remembered && !draft.refresh) ? run : undefined
    const sameParams =
      draft.onMismatch === undefined || answering === undefined || answering.params === draft.params
    if (answering !== undefined && !sameParams && draft.onMismatch === 'reject') {
      this.#total('rejected')
      return verdict('rejected', answering, { sameParams })
    }
    if (answering === undefined) {
      if (accepted !== undefined && now >= (accepted.staleUntil as number)) delete slot.accepted
      this.#total('created')
      return verdict('created', this.#create(draft, slot, now, asking))
    }
    if (usable) {
      this.#followAtOnce(draft, answering, now)
      if (now < (answering.freshUntil as number)) {
        this.#total('hit')
        return verdict('hit', answering, { sameParams })
      }
      this.#total('stale')
      let refreshId = live ? run.id : undefined
      if (!live && !remembered) {
        const refresh = {
          ...draft,
          then: [],
          watch: false,
          priority: Math.min(draft.priority, REFRESH_PRIORITY),
        }
        refreshId = this.#create(refresh, slot, now, asking).id
      }
      return verdict('stale', answering, { sameParams, ...(refreshId === undefined ? {} : { refreshId }) })
    }
    if (live) {
      this.#merge(answering, draft, now, asking)
      this.#total('joined')
      return verdict('joined', answering, { sameParams })
    }
    this.#followAtOnce(draft, answering, now)
    this.#total('negative')
    return verdict('negative', answering, { sameParams })
  }

  claim(want: Want, by: Hearing): Claims {
    const now = this.#now()
    this.#lanes.moveDue(now)
    const claimed: Claims['claimed'] = []
    const prefix = randomBytes(9).toString('base64url')
    while (claimed.length < want.limit) {
      const run = this.#lanes.take(want)
      if (run === undefined) break
      run.status = 'running'
      run.attempt++
      run.startedAt = now
      run.token = `${prefix}.${claimed.length}`
      run.leaseUntil = now + want.leaseMs
      run.owner = by
      this.#running.add(run)
      this.#lanes.add(run, -1, 1)
      claimed.push({ entry: entryOf(run), token: run.token })
    }
    if (claimed.length < want.limit || want.limit === 0) this.#lanes.wait(by, want)
    const next = this.#lanes.nextDue()
    return { claimed, ...(next === undefined ? {} : { nextDueMs: Math.max(0, next - now) }) }
  }

  settle(outcome: Outcome): SettleAnswer {
    const now = this.#now()
    const run = this.#runs.get(outcome.id)
    if (run === undefined || run.token === undefined || run.token !== outcome.token) {
      if (run?.lastToken === outcome.token) return 'settled'
      this.#total('lost')
      return 'lost'
    }
    run.lastToken = run.token
    this.#dropLease(run)
    switch (outcome.kind) {
      case 'completed':
        this.#end(run, 'completed', now, outcome.result)
        break
      case 'failed':
        this.#addError(run, outcome.error)
        this.#end(run, 'failed', now, outcome.error)
        break
      case 'retry':
        this.#addError(run, outcome.error)
        run.dueAt = now + outcome.delayMs
        this.#requeue(run, now)
        this.#total('retried')
        break
      case 'released':
        run.attempt--
        this.#requeue(run, now)
    }
    for (const draft of outcome.then ?? []) this.#admitFollowUp(draft, undefined, now)
    return 'settled'
  }

  extend(lease: Lease, leaseMs: number): LeaseAnswer {
    const run = this.#runs.get(lease.id)
    if (run?.token !== lease.token) return run?.status === 'cancelled' ? 'cancelled' : 'lost'
    run.leaseUntil = this.#now() + leaseMs
    if (lease.progress !== undefined) run.progress = lease.progress
    return 'held'
  }

  sweep(limit: number): Swept {
    const now = this.#now()
    const swept: Swept = { requeued: [], failed: [], expired: 0 }
    for (const run of this.#running) {
      if (swept.requeued.length + swept.failed.length >= limit) break
      if (run.leaseUntil > now) continue
      const error = leaseLostError(run.attempt, now)
      this.#dropLease(run)
      this.#addError(run, error)
      this.#total('expired')
      if (run.attempt >= run.policy.maxAttempts) {
        this.#end(run, 'failed', now, error)
        swept.failed.push(run.id)
      } else {
        run.dueAt = now
        this.#requeue(run, now)
        swept.requeued.push(run.id)
      }
    }
    for (
      let run = this.#ended.peek();
      run !== undefined && run.expiresAt <= now && swept.expired < limit;
      run = this.#ended.peek()
    ) {
      this.#ended.pop()
      this.#forget(run)
      swept.expired++
    }
    return swept
  }

  read(id: string, watching?: Hearing): Entry | undefined {
    const run = this.#find(id, this.#now())
    if (run === undefined) return undefined
    if (watching !== undefined && isLive(run)) run.watchers.add(watching)
    return entryOf(run)
  }

  cancel(id: string, reason?: string): CancelAnswer {
    const now = this.#now()
    const run = this.#find(id, now)
    if (run === undefined) return 'unknown'
    if (run.status === 'cancelled') return 'cancelled'
    if (!isLive(run)) return 'ended'
    if (run.status === 'running') {
      run.owner?.hear({ kind: 'cancelled', id })
      this.#dropLease(run)
    } else {
      this.#lanes.add(run, -1, 0)
    }
    if (reason !== undefined) this.#addError(run, reason)
    this.#end(run, 'cancelled', now, reason)
    return 'cancelled'
  }

  invalidate(selector: Selector): number {
    const now = this.#now()
    let changed = 0
    const keys = 'keys' in selector ? selector.keys : [...this.#slots.keys()]
    for (const key of keys) {
      const slot = this.#slots.get(key)
      if (slot === undefined) continue
      if ('name' in selector && slot.run?.name !== selector.name && slot.accepted?.name !== selector.name)
        continue
      if (this.#invalidateSlot(slot, now)) changed++
      if (slot.run === undefined && slot.accepted === undefined) this.#slots.delete(key)
    }
    for (const engine of this.#engines) engine.hear({ kind: 'invalidated', selector })
    return changed
  }

  list(filter: Filter, cursor?: string): Page {
    const now = this.#now()
    const limit = Math.min(filter.limit ?? 100, MAX_BATCH)
    const after = cursor === undefined ? 0 : Number(cursor)
    const entries: Entry[] = []
    for (const run of this.#runs.values()) {
      if (run.seq <= after || (isEnded(run.status) && run.expiresAt <= now)) continue
      if (filter.status !== undefined && run.status !== filter.status) continue
      if (filter.name !== undefined && run.name !== filter.name) continue
      if (filter.queue !== undefined && run.queue !== filter.queue) continue
      if (entries.length === limit)
        return { entries, cursor: String(this.#runs.get(entries.at(-1)?.id as string)?.seq) }
      entries.push(entryOf(run))
    }
    return { entries }
  }

  count(): Counts {
    return { lanes: this.#lanes.counts(), totals: { ...this.#totals } }
  }

  #slot(key: string, now: number): Slot {
    let slot = this.#slots.get(key)
    if (slot === undefined) this.#slots.set(key, (slot = {}))
    if (slot.run !== undefined && isEnded(slot.run.status) && slot.run.expiresAt <= now) delete slot.run
    if (slot.accepted !== undefined && slot.accepted.expiresAt <= now) delete slot.accepted
    return slot
  }

  #find(id: string, now: number): Run | undefined {
    const run = this.#runs.get(id)
    return run !== undefined && isEnded(run.status) && run.expiresAt <= now ? undefined : run
  }

  /** A run that stood here and has ended needs no moving: it stays among the runs, under its id, until it expires. */
  #create(draft: Draft, slot: Slot, now: number, watching?: Hearing, parent?: Parent): Run {
    const run = runOf(draft, ++this.#seq, now, parent)
    if (draft.watch && watching !== undefined) run.watchers.add(watching)
    slot.run = run
    this.#runs.set(run.id, run)
    this.#requeue(run, now)
    return run
  }

  #merge(run: Run, draft: Draft, now: number, asking: Hearing): void {
    run.policy.retentionMs = Math.max(run.policy.retentionMs, draft.policy.retentionMs)
    for (const follow of draft.then ?? []) {
      if (!run.followUps.has(follow.draft.id)) run.followUps.set(follow.draft.id, follow)
    }
    if (draft.watch) run.watchers.add(asking)
    const dueAt = run.attempt === 0 ? Math.min(run.dueAt, dueOf(draft, now)) : run.dueAt
    const priority = Math.max(run.priority, draft.priority)
    if (dueAt === run.dueAt && priority === run.priority) return
    run.dueAt = dueAt
    run.priority = priority
    if (run.status === 'pending') this.#lanes.enqueue(run, now)
  }

  #requeue(run: Run, now: number): void {
    run.status = 'pending'
    this.#lanes.add(run, 1, 0)
    this.#lanes.enqueue(run, now)
  }

  #dropLease(run: Run): void {
    delete run.token
    delete run.owner
    this.#running.delete(run)
    this.#lanes.add(run, 0, -1)
  }

  #end(run: Run, status: 'completed' | 'failed' | 'cancelled', now: number, value?: string): void {
    const { policy } = run
    const slot = this.#slots.get(run.id.slice(0, KEY_LENGTH))
    run.status = status
    run.finishedAt = now
    run.expiresAt = now + policy.retentionMs
    if (status === 'completed') {
      const cached = slot?.run === run
      run.result = value as string
      run.freshUntil = cached ? now + policy.resultTtlMs : now
      run.staleUntil = cached ? run.freshUntil + policy.staleTtlMs : now
      run.expiresAt = Math.max(run.expiresAt, run.staleUntil)
      if (cached) slot.accepted = run
    } else if (status === 'failed') {
      run.rememberedUntil = now + policy.failureTtlMs
      run.expiresAt = Math.max(run.expiresAt, run.rememberedUntil)
    }
    this.#total(status)
    this.#ended.push(run)
    for (const watcher of run.watchers) watcher.hear({ kind: 'ended', id: run.id, run: standingOf(run) })
    run.watchers.clear()
    for (const follow of run.followUps.values()) this.#follow(follow, run, now)
    run.followUps.clear()
  }

  #followAtOnce(draft: Draft, run: Run, now: number): void {
    for (const follow of draft.then ?? []) this.#follow(follow, run, now)
  }

  #follow(follow: FollowUp, run: Run, now: number): void {
    if (follow.on !== 'both' && (follow.on === 'success') !== (run.status === 'completed')) return
    if (follow.sameParent) {
      this.#admitFollowUp(follow.draft, run.parent, now)
      return
    }
    const value = run.status === 'completed' ? run.result : run.errors.at(-1)
    const parent: Parent = { id: run.id, name: run.name, status: run.status as Parent['status'] }
    this.#admitFollowUp(follow.draft, value === undefined ? parent : { ...parent, value }, now)
  }

  #admitFollowUp(draft: Draft, parent: Parent | undefined, now: number): void {
    if (this.#runs.has(draft.id)) return
    this.#total('created')
    this.#create(draft, this.#slot(draft.id.slice(0, KEY_LENGTH), now), now, undefined, parent)
  }

  #invalidateSlot(slot: Slot, now: number): boolean {
    const { run, accepted } = slot
    let changed = false
    if (accepted !== undefined && now < (accepted.staleUntil as number)) {
      accepted.freshUntil = Math.min(now, accepted.freshUntil as number)
      accepted.staleUntil = now
      changed = true
    }
    delete slot.accepted
    if (run?.status === 'failed' && now < run.rememberedUntil) {
      run.rememberedUntil = now
      changed = true
    }
    if (run?.status === 'running') {
      delete slot.run
      changed = true
    }
    return changed
  }

  #forget(run: Run): void {
    this.#runs.delete(run.id)
    const key = run.id.slice(0, KEY_LENGTH)
    const slot = this.#slots.get(key)
    if (slot === undefined) return
    if (slot.run === run) delete slot.run
    if (slot.accepted === run) delete slot.accepted
    if (slot.run === undefined && slot.accepted === undefined) this.#slots.delete(key)
  }

  #addError(run: Run, error: string): void {
    run.errors = [...run.errors, error].slice(-MAX_ERRORS)
  }

  #total(total: Total): void {
    this.#totals[total] = (this.#totals[total] ?? 0) + 1
  }
}
