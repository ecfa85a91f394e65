// The memory engine's rules: what each verb decides; the contract in its plainest form, and the reference to read it in.
import { environment } from '../../base/environment.ts'
import type {
  AttemptOutcome,
  CancelAnswer,
  Claims,
  Counts,
  Draft,
  Entry,
  Filter,
  Lanes,
  Lease,
  LeaseAnswer,
  Page,
  PromoteAnswer,
  Selector,
  SettleAnswer,
  Swept,
  Verdict,
  Want,
} from '../../contract/engine.ts'
import { isEnded, KEY_LENGTH, MAX_BATCH, REFRESH_PRIORITY } from '../../contract/engine.ts'
import { abandonedError, leaseLostError } from '../../contract/store-errors.ts'
import type { Hearing } from './lanes.ts'
import type { Run, Slot } from './runs.ts'
import { entryOf, isLive, verdict } from './runs.ts'
import { MemoryState } from './state.ts'

/** Several `MemoryEngine`s of one process may share it, as connections share a server. */
export class MemoryStore {
  readonly #now: () => number
  readonly #state = new MemoryState()
  readonly #engines = new Set<Hearing>()

  constructor(now: () => number = environment.now) {
    this.#now = now
  }

  join(engine: Hearing): void {
    this.#engines.add(engine)
  }

  leave(engine: Hearing): void {
    this.#engines.delete(engine)
    this.#state.lanes.leave(engine)
  }

  admit(draft: Draft, asking: Hearing): Verdict {
    const now = this.#now()
    const state = this.#state
    const slot = state.slot(draft.id.slice(0, KEY_LENGTH), now)
    const { run, accepted } = slot
    const usable = !draft.refresh && accepted !== undefined && now < (accepted.staleUntil as number)

    const repeated = state.runs.get(draft.id)
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
      state.total('rejected')
      return verdict('rejected', answering, { sameParams })
    }
    if (answering === undefined) {
      if (accepted !== undefined && now >= (accepted.staleUntil as number)) slot.accepted = undefined
      state.total('created')
      return verdict('created', state.create(draft, slot, now, asking))
    }
    if (usable) {
      state.followAtOnce(draft, answering, now)
      if (now < (answering.freshUntil as number)) {
        state.total('hit')
        return verdict('hit', answering, { sameParams, freshMs: (answering.freshUntil as number) - now })
      }
      state.total('stale')
      let refreshId = live ? run.id : undefined
      if (!live && !remembered) {
        const { attended: _, ...rest } = draft
        const priority = Math.min(draft.priority, REFRESH_PRIORITY)
        refreshId = state.create({ ...rest, then: [], watch: false, priority }, slot, now, asking).id
      }
      return verdict('stale', answering, { sameParams, ...(refreshId === undefined ? {} : { refreshId }) })
    }
    if (live) return this.#meet(draft, slot, answering, now, asking)
    state.followAtOnce(draft, answering, now)
    state.total('negative')
    return verdict('negative', answering, { sameParams })
  }

  claim(want: Want, by: Hearing): Claims {
    const now = this.#now()
    const { lanes, running } = this.#state
    lanes.moveDue(now)
    const claimed: Claims['claimed'] = []
    const prefix = environment.randomBytes(9).toString('base64url')
    while (claimed.length < want.limit) {
      const run = lanes.take(want, now)
      if (run === undefined) break
      run.status = 'running'
      run.attempt++
      run.startedAt = now
      run.token = `${prefix}.${claimed.length}`
      run.leaseUntil = now + want.leaseMs
      run.owner = by
      running.set(run.id, run)
      lanes.add(run, -1, 1)
      claimed.push({ entry: entryOf(run), token: run.token })
    }
    if (claimed.length < want.limit || want.limit === 0) lanes.wait(by, want)
    const next = lanes.nextDue(want, now)
    return { claimed, ...(next === undefined ? {} : { nextDueMs: Math.max(0, next - now) }) }
  }

  settle(outcome: AttemptOutcome): SettleAnswer {
    const now = this.#now()
    const state = this.#state
    const run = state.running.get(outcome.id)
    if (run === undefined || run.token !== outcome.token) {
      if (state.runs.get(outcome.id)?.lastToken === outcome.token) return 'settled'
      state.total('outcomesRefused')
      return 'lost'
    }
    run.lastToken = run.token
    state.dropLease(run)
    switch (outcome.kind) {
      case 'completed':
        state.end(run, 'completed', now, outcome.result)
        break
      case 'failed':
      case 'cancelled':
        state.addError(run, outcome.error)
        state.end(run, outcome.kind, now)
        break
      case 'retry':
        state.addError(run, outcome.error)
        run.dueAt = now + outcome.delayMs
        state.requeue(run, now)
        state.total('retried')
        break
      case 'released':
        run.attempt--
        run.dueAt = outcome.dueAt ?? run.dueAt
        run.params = outcome.params ?? run.params
        state.requeue(run, now)
    }
    for (const draft of outcome.then ?? []) state.admitFollowUp(draft, undefined, now)
    return 'settled'
  }

  extend(lease: Lease, leaseMs: number): LeaseAnswer {
    const run = this.#state.runs.get(lease.id)
    if (run?.token !== lease.token) return run?.status === 'cancelled' ? 'cancelled' : 'lost'
    run.leaseUntil = this.#now() + leaseMs
    if (lease.progress !== undefined) run.progress = lease.progress
    return 'held'
  }

  sweep(limit: number): Swept {
    const now = this.#now()
    const state = this.#state
    const swept: Swept = { requeued: [], failed: [], abandoned: [], removed: 0 }
    for (const run of state.running.values()) {
      if (swept.requeued.length + swept.failed.length >= limit) break
      if (run.leaseUntil > now) continue
      const error = leaseLostError(run.attempt, now)
      state.dropLease(run)
      state.addError(run, error)
      state.total('leasesLost')
      if (run.attempt >= run.policy.maxAttempts) {
        state.end(run, 'failed', now)
        swept.failed.push(run.id)
      } else {
        run.dueAt = now
        state.requeue(run, now)
        swept.requeued.push(run.id)
      }
    }
    for (const run of state.attended) {
      if (swept.abandoned.length >= limit) break
      const { until, running } = run.attended as { until: number; running: boolean }
      if (until > now || (run.status === 'running' && !running)) continue
      state.cancel(run, now, abandonedError(run.attempt, now))
      swept.abandoned.push(run.id)
    }
    for (
      let run = state.ended.peek();
      run !== undefined && run.expiresAt <= now && swept.removed < limit;
      run = state.ended.peek()
    ) {
      state.ended.pop()
      state.forget(run)
      swept.removed++
    }
    state.lanes.forgetIdle(now)
    return swept
  }

  read(idOrKey: string, watching?: Hearing): Entry | undefined {
    const now = this.#now()
    const run = this.#state.find(idOrKey, now)
    if (run === undefined) return undefined
    if (run.attended !== undefined) run.attended.until = now + run.attended.ms
    if (watching !== undefined && isLive(run)) this.#state.watch(run, watching)
    return entryOf(run)
  }

  cancel(id: string, reason?: string): CancelAnswer {
    const now = this.#now()
    const run = this.#state.find(id, now)
    if (run === undefined) return 'unknown'
    if (run.status === 'cancelled') return 'cancelled'
    if (!isLive(run)) return 'ended'
    this.#state.cancel(run, now, reason)
    return 'cancelled'
  }

  promote(id: string, priority = Number.NEGATIVE_INFINITY): PromoteAnswer {
    const now = this.#now()
    const run = this.#state.find(id, now)
    if (run === undefined) return 'unknown'
    if (!isLive(run)) return 'ended'
    if (run.status === 'running') return 'running'
    this.#state.advance(run, Math.min(run.dueAt, now), Math.max(run.priority, priority), now)
    return 'due'
  }

  invalidate(selector: Selector): number {
    const now = this.#now()
    const { slots } = this.#state
    let changed = 0
    const keys = 'keys' in selector ? selector.keys : [...slots.keys()]
    for (const key of keys) {
      const slot = slots.get(key)
      if (slot === undefined) continue
      if ('name' in selector && slot.run?.name !== selector.name && slot.accepted?.name !== selector.name)
        continue
      if (this.#state.invalidate(slot, now)) changed++
      if (slot.run === undefined && slot.accepted === undefined) slots.delete(key)
    }
    for (const engine of this.#engines) engine.hear({ kind: 'invalidated', selector })
    return changed
  }

  pause(lanes: Lanes, paused: boolean): void {
    this.#state.lanes.pause(lanes, paused)
  }

  list(filter: Filter, cursor?: string): Page {
    const now = this.#now()
    const { runs } = this.#state
    const limit = Math.min(filter.limit ?? 100, MAX_BATCH)
    const after = cursor === undefined ? 0 : Number(cursor)
    const entries: Entry[] = []
    for (const run of runs.values()) {
      if (run.seq <= after || (isEnded(run.status) && run.expiresAt <= now)) continue
      if (filter.status !== undefined && run.status !== filter.status) continue
      if (filter.name !== undefined && run.name !== filter.name) continue
      if (filter.queue !== undefined && run.queue !== filter.queue) continue
      if (entries.length === limit)
        return { entries, cursor: String(runs.get(entries.at(-1)?.id as string)?.seq) }
      entries.push(entryOf(run))
    }
    return { entries }
  }

  count(): Counts {
    const { lanes, totals } = this.#state
    return { lanes: lanes.counts(), paused: lanes.paused(), totals: { ...totals } }
  }

  /** A live run stands under the draft's key, and no result answers it. */
  #meet(draft: Draft, slot: Slot, run: Run, now: number, asking: Hearing): Verdict {
    const state = this.#state
    const { onDuplicate = {} } = draft
    const rerun = onDuplicate.running === 'rerunAfter'
    if (rerun && slot.next === undefined && run.status === 'running') {
      state.total('created')
      return verdict('created', state.createBehind(draft, slot, now, asking))
    }
    const met = rerun && slot.next !== undefined ? slot.next : run
    const rule = met.status === 'running' ? onDuplicate.running : onDuplicate.pending
    const sameParams = draft.onMismatch === undefined || met.params === draft.params
    switch (rule) {
      case 'reject':
        state.total('rejected')
        return verdict('rejected', met, { sameParams })
      case 'supersede': {
        const behind = met === slot.next
        if (slot.next !== undefined) state.supersede(slot.next, draft.id, now)
        if (!behind) state.supersede(run, draft.id, now)
        state.total('created')
        const successor = behind
          ? state.createBehind(draft, slot, now, asking)
          : state.create(draft, slot, now, asking)
        return verdict('created', successor)
      }
      case 'replace':
        state.replace(met, draft, now)
        state.join(met, { ...draft, dueAt: Infinity }, now, asking)
        state.total('joined')
        return verdict('joined', met)
      default:
        state.join(met, draft, now, asking)
        state.total('joined')
        return verdict('joined', met, { sameParams })
    }
  }
}
