// The memory engine's verbs: each one step of the lifecycle over lanes and indexes. Read contract/lifecycle for the rules.
import { environment } from '../../base/environment.ts'
import type {
  AttemptOutcome,
  CancelAnswer,
  Claims,
  Counts,
  Draft,
  Entry,
  Filter,
  Hint,
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
import { isEnded, MAX_BATCH } from '../../contract/engine.ts'
import { admit } from '../../contract/lifecycle/admit.ts'
import { invalidate, promote } from '../../contract/lifecycle/changes.ts'
import { abandon, begin, cancel, expire, isAbandoned, settle } from '../../contract/lifecycle/ends.ts'
import { isLive } from '../../contract/lifecycle/ledger.ts'
import type { Hearing } from '../../drivers/lanes.ts'
import { StoreClock } from './clock.ts'
import { MemoryLedger } from './ledger.ts'
import { entryOf, verdictOf } from './runs.ts'

/** Several `MemoryEngine`s of one process may share it, as connections share a server. */
export class MemoryStore {
  readonly #clock: StoreClock
  readonly #ledger = new MemoryLedger()
  readonly #engines = new Set<Hearing>()

  /** `now`: another clock, for tests. */
  constructor(now?: () => number) {
    this.#clock = new StoreClock(now)
  }

  join(engine: Hearing): void {
    this.#engines.add(engine)
  }

  leave(engine: Hearing): void {
    this.#engines.delete(engine)
    this.#ledger.lanes.leave(engine)
  }

  admit(drafts: readonly Draft[], asking: Hearing): Verdict[] {
    const ledger = this.#ledger.step(this.#clock, asking)
    return drafts.map((draft) => verdictOf(admit(ledger, draft), ledger.wallAhead))
  }

  claim(want: Want, by: Hearing): Claims {
    const ledger = this.#ledger.step(this.#clock)
    const { lanes, now } = ledger
    lanes.moveDue(now)
    const claimed: Claims['claimed'] = []
    const prefix = environment.randomBytes(9).toString('base64url')
    while (claimed.length < want.limit) {
      const run = lanes.take(want, now)
      if (run === undefined) break
      const token = `${prefix}.${claimed.length}`
      begin(ledger, run, token, want.leaseMs)
      run.owner = by
      claimed.push({ entry: entryOf(run, ledger.wallAhead), token })
    }
    if (claimed.length < want.limit || want.limit === 0) lanes.wait(by, want)
    const next = lanes.nextDue(want, now)
    return { claimed, ...(next === undefined ? {} : { nextDueMs: Math.max(0, next - now) }) }
  }

  settle(outcomes: readonly AttemptOutcome[]): SettleAnswer[] {
    const ledger = this.#ledger.step(this.#clock)
    return outcomes.map((outcome) => settle(ledger, outcome))
  }

  extend(leases: readonly Lease[], leaseMs: number): LeaseAnswer[] {
    const { now, runs } = this.#ledger.step(this.#clock)
    return leases.map(({ id, token, progress }) => {
      const run = runs.get(id)
      if (run?.token !== token) return run?.status === 'cancelled' ? 'cancelled' : 'lost'
      run.leaseUntil = now + leaseMs
      if (progress !== undefined) run.progress = progress
      return 'held'
    })
  }

  sweep(limit: number): Swept {
    const ledger = this.#ledger.step(this.#clock)
    const { now, expiring } = ledger
    const swept: Swept = { requeued: [], failed: [], abandoned: [], removed: 0 }
    for (const run of ledger.running.values()) {
      if (swept.requeued.length + swept.failed.length >= limit) break
      if (run.leaseUntil <= now) swept[expire(ledger, run)].push(run.id)
    }
    for (const run of ledger.attending) {
      if (swept.abandoned.length >= limit) break
      if (!isAbandoned(run, now)) continue
      abandon(ledger, run)
      swept.abandoned.push(run.id)
    }
    for (let run = expiring.peek(); run !== undefined && swept.removed < limit; run = expiring.peek()) {
      if (run.expiresAt > now) break
      expiring.pop()
      // A purge has removed it before; its id may belong to another run since.
      if (ledger.runs.get(run.id) !== run) continue
      ledger.forget(run)
      swept.removed++
    }
    ledger.lanes.forgetIdle(now)
    return swept
  }

  read(idsOrKeys: readonly string[], watching?: Hearing): (Entry | undefined)[] {
    const ledger = this.#ledger.step(this.#clock, watching)
    return idsOrKeys.map((idOrKey) => {
      const run = ledger.find(idOrKey)
      if (run === undefined) return undefined
      if (run.attended !== undefined) run.attended.until = ledger.now + run.attended.ms
      if (isLive(run)) ledger.watched(run)
      return entryOf(run, ledger.wallAhead)
    })
  }

  cancel(ids: readonly string[], reason?: string): CancelAnswer[] {
    const ledger = this.#ledger.step(this.#clock)
    return ids.map((id) => cancel(ledger, ledger.find(id), reason))
  }

  promote(ids: readonly string[], priority?: number): PromoteAnswer[] {
    const ledger = this.#ledger.step(this.#clock)
    return ids.map((id) => promote(ledger, ledger.find(id), priority))
  }

  invalidate(selector: Selector): number {
    const ledger = this.#ledger.step(this.#clock)
    const { slots } = ledger
    let changed = 0
    for (const key of 'keys' in selector ? selector.keys : [...slots.keys()]) {
      const slot = slots.get(key)
      if (slot === undefined) continue
      if ('name' in selector && slot.run?.name !== selector.name && slot.accepted?.name !== selector.name)
        continue
      if (invalidate(ledger, key)) changed++
      ledger.tidy(key)
    }
    this.tell({ kind: 'invalidated', selector })
    return changed
  }

  /** One atomic step over the records, for maintenance. */
  step<T>(work: (ledger: MemoryLedger) => T): T {
    return work(this.#ledger.step(this.#clock))
  }

  /** Tells every connection. */
  tell(hint: Hint): void {
    for (const engine of this.#engines) engine.hear(hint)
  }

  pause(lanes: Lanes, paused: boolean): void {
    this.#ledger.lanes.pause(lanes, paused)
  }

  list(filter: Filter, cursor?: string): Page {
    const { now, runs, wallAhead } = this.#ledger.step(this.#clock)
    const limit = Math.min(filter.limit ?? 100, MAX_BATCH)
    const after = cursor === undefined ? 0 : Number(cursor)
    const entries: Entry[] = []
    let last = after
    for (const run of runs.values()) {
      if (run.seq <= after || (isEnded(run.status) && run.expiresAt <= now)) continue
      if (filter.status !== undefined && run.status !== filter.status) continue
      if (filter.name !== undefined && run.name !== filter.name) continue
      if (filter.queue !== undefined && run.queue !== filter.queue) continue
      if (entries.length === limit) return { entries, cursor: String(last) }
      entries.push(entryOf(run, wallAhead))
      last = run.seq
    }
    return { entries }
  }

  count(): Counts {
    const { lanes, totals } = this.#ledger
    return { lanes: lanes.counts(), paused: lanes.paused(), totals: { ...totals } }
  }
}
