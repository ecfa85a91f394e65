// A complete engine in one file: runs lie in a Map of this process. Replace the Map by your store; the rules stay.
//
// The rules of runs (admission, ends, retries, follow-ups) come from deferq/engine as functions over a Ledger. An engine
// gives them records to read and change, and hears events. It keeps the records, the lanes and the counters.
import type {
  AttemptOutcome,
  CancelAnswer,
  Claims,
  Counts,
  Draft,
  Engine,
  Entry,
  Filter,
  FollowUp,
  Hint,
  Lanes,
  Lease,
  LeaseAnswer,
  Ledger,
  Listening,
  Page,
  Parent,
  Place,
  PromoteAnswer,
  RunRecord,
  Selector,
  SettleAnswer,
  Settled,
  Slot,
  Standing,
  Status,
  Swept,
  Total,
  Verdict,
  Want,
  WriteOptions,
} from 'deferq/engine'
import {
  abandon,
  admit,
  begin,
  cancel,
  checkBatch,
  DeferqError,
  dueOf,
  expire,
  invalidate,
  isAbandoned,
  isLive,
  KEY_LENGTH,
  keyOf,
  MAX_BATCH,
  promote,
  ReadyLanes,
  refuseTx,
  settle,
} from 'deferq/engine'

/** A record, and beside it the fields that this engine and its lanes need. */
interface Run extends RunRecord {
  seq: number
  ticket: number
  owner?: MapEngine
  watchers: Set<MapEngine>
  followUps: Map<string, FollowUp>
}

/** The store: several engines of one process share it, as connections share a server. */
export class MapStore implements Ledger<Run> {
  readonly runs = new Map<string, Run>()
  readonly slots = new Map<string, Slot<Run>>()
  readonly lanes = new ReadyLanes<Run>()
  readonly engines = new Set<MapEngine>()
  readonly totals: Partial<Record<Total, number>> = {}
  readonly wallAhead = 0
  readonly #clock: () => number
  now = 0
  #asking: MapEngine | undefined
  #seq = 0
  #claims = 0

  constructor(clock: () => number = Date.now) {
    this.#clock = clock
  }

  /** Every verb is one step: the time stands still until the next one. */
  step(asking?: MapEngine): this {
    this.now = this.#clock()
    this.#asking = asking
    return this
  }

  // ---- The Ledger: what the rules read and write.

  slot(key: string): Slot<Run> {
    let slot = this.slots.get(key)
    if (slot === undefined) this.slots.set(key, (slot = {}))
    if (slot.run !== undefined && this.isGone(slot.run)) slot.run = undefined
    if (slot.accepted !== undefined && this.isGone(slot.accepted)) slot.accepted = undefined
    return slot
  }

  slotOf(run: Run): Slot<Run> {
    return this.slot(keyOf(run.id))
  }

  run(id: string): Run | undefined {
    return this.runs.get(id)
  }

  make(draft: Draft, parent: Parent | undefined): Run {
    const { id, name, queue, priority, params, policy, attended } = draft
    const run: Run = {
      ...{ id, name, queue, priority, params, policy, place: 'stands', status: 'pending' },
      ...{ attempt: 0, errors: [], createdAt: this.now, dueAt: dueOf(this, draft), runAt: draft.dueAt },
      ...{ leaseUntil: 0, rememberedUntil: 0, expiresAt: 0 },
      ...{ seq: ++this.#seq, ticket: 0, watchers: new Set(), followUps: new Map() },
    }
    if (draft.extra !== undefined) run.extra = draft.extra
    if (draft.group !== undefined) run.group = draft.group
    if (parent !== undefined) run.parent = parent
    if (attended !== undefined) run.attended = { ...attended, until: this.now + attended.ms }
    this.runs.set(id, run)
    return run
  }

  put(run: Run, place: Place): void {
    run.place = place
  }

  followUps(run: Run): Iterable<FollowUp> {
    return run.followUps.values()
  }

  addFollowUp(run: Run, follow: FollowUp): void {
    if (!run.followUps.has(follow.draft.id)) run.followUps.set(follow.draft.id, follow)
  }

  dropFollowUps(run: Run): void {
    run.followUps.clear()
  }

  // ---- The events: what the rules tell the engine.

  ready(run: Run): void {
    this.lanes.enqueue(run, this.now)
  }

  moved(run: Run, before: Status | undefined): void {
    const changes = (status: Status): number => Number(run.status === status) - Number(before === status)
    this.lanes.add(run, changes('pending'), changes('running'))
    if (before !== 'running') return
    delete run.owner
    this.lanes.over(run)
  }

  ended(run: Run): void {
    for (const watcher of run.watchers) watcher.hear({ kind: 'ended', id: run.id, run: standingOf(run) })
    run.watchers.clear()
  }

  cancelled(run: Run): void {
    run.owner?.hear({ kind: 'cancelled', id: run.id })
  }

  watched(run: Run): void {
    if (this.#asking !== undefined) run.watchers.add(this.#asking)
  }

  attended(): void {}

  total(total: Total): void {
    this.totals[total] = (this.totals[total] ?? 0) + 1
  }

  // ---- What the verbs below need beside the rules.

  isGone(run: Run): boolean {
    return !isLive(run) && run.expiresAt <= this.now
  }

  /** A run by its id, or the run that stands under a key. */
  find(idOrKey: string): Run | undefined {
    const slot = idOrKey.length === KEY_LENGTH ? this.slot(idOrKey) : undefined
    const run = slot === undefined ? this.runs.get(idOrKey) : (slot.run ?? slot.accepted)
    return run === undefined || this.isGone(run) ? undefined : run
  }

  claim(want: Want, by: MapEngine): Claims {
    this.lanes.moveDue(this.now)
    const claimed: Claims['claimed'] = []
    while (claimed.length < want.limit) {
      const run = this.lanes.take(want, this.now)
      if (run === undefined) break
      const token = `${++this.#claims}.${crypto.randomUUID()}`
      begin(this, run, token, want.leaseMs)
      run.owner = by
      claimed.push({ entry: entryOf(run), token })
    }
    if (claimed.length < want.limit || want.limit === 0) this.lanes.wait(by, want)
    const next = this.lanes.nextDue(want, this.now)
    return { claimed, ...(next === undefined ? {} : { nextDueMs: Math.max(0, next - this.now) }) }
  }

  extend({ id, token, progress }: Lease, leaseMs: number): LeaseAnswer {
    const run = this.runs.get(id)
    if (run?.token !== token) return run?.status === 'cancelled' ? 'cancelled' : 'lost'
    run.leaseUntil = this.now + leaseMs
    if (progress !== undefined) run.progress = progress
    return 'held'
  }

  sweep(limit: number): Swept {
    const swept: Swept = { requeued: [], failed: [], abandoned: [], removed: 0 }
    for (const run of [...this.runs.values()]) {
      if (run.status === 'running' && run.leaseUntil <= this.now) {
        if (swept.requeued.length + swept.failed.length < limit) swept[expire(this, run)].push(run.id)
      } else if (isAbandoned(run, this.now)) {
        if (swept.abandoned.length >= limit) continue
        abandon(this, run)
        swept.abandoned.push(run.id)
      } else if (this.isGone(run) && swept.removed < limit) {
        this.runs.delete(run.id)
        this.slotOf(run)
        swept.removed++
      }
    }
    this.lanes.forgetIdle(this.now)
    return swept
  }

  read(idOrKey: string, watch: boolean): Entry | undefined {
    const run = this.find(idOrKey)
    if (run === undefined) return undefined
    if (run.attended !== undefined) run.attended.until = this.now + run.attended.ms
    if (watch && isLive(run)) this.watched(run)
    return entryOf(run)
  }

  invalidate(selector: Selector): number {
    const keys = 'keys' in selector ? selector.keys : [...this.slots.keys()]
    const names = ({ run, accepted }: Slot<Run>): (string | undefined)[] => [run?.name, accepted?.name]
    const chosen = keys.filter((key) => {
      const slot = this.slots.get(key)
      return slot !== undefined && ('keys' in selector || names(slot).includes(selector.name))
    })
    const changed = chosen.filter((key) => invalidate(this, key)).length
    for (const engine of this.engines) engine.hear({ kind: 'invalidated', selector })
    return changed
  }

  list(filter: Filter, cursor: string | undefined): Page {
    const limit = Math.min(filter.limit ?? 100, MAX_BATCH)
    const asked = (['status', 'name', 'queue'] as const).filter((field) => filter[field] !== undefined)
    const found = [...this.runs.values()].filter(
      (run) =>
        run.seq > Number(cursor ?? 0) &&
        !this.isGone(run) &&
        asked.every((field) => run[field] === filter[field]),
    )
    const page = found.slice(0, limit)
    const entries = page.map(entryOf)
    return found.length > limit ? { entries, cursor: String(page.at(-1)?.seq) } : { entries }
  }
}

/** One connection to a `MapStore`: each verb is one step of it, for a whole batch. */
export class MapEngine implements Engine {
  readonly name = 'map'
  readonly shards = 1
  readonly caveats: readonly string[] = ['All runs are lost when this process ends.']
  readonly #store: MapStore
  readonly #listeners = new Set<(hint: Hint) => void>()
  #closed = false

  constructor(store: MapStore = new MapStore()) {
    this.#store = store
    store.engines.add(this)
  }

  async open(): Promise<void> {
    this.#step([], 'open')
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#store.engines.delete(this)
    this.#store.lanes.leave(this)
    this.#listeners.clear()
  }

  async admit(drafts: readonly Draft[], options?: WriteOptions): Promise<Verdict[]> {
    const store = this.#step(drafts, 'admit', options)
    return drafts.map((draft) => {
      const { run, ...decision } = admit(store, draft)
      return { ...decision, entry: standingOf(run) }
    })
  }

  async claim(want: Want): Promise<Claims> {
    return this.#step([], 'claim').claim(want, this)
  }

  async settle(outcomes: readonly AttemptOutcome[], want?: Want, options?: WriteOptions): Promise<Settled> {
    const store = this.#step(outcomes, 'settle', options)
    const answers = outcomes.map((outcome): SettleAnswer => settle(store, outcome))
    return { answers, ...(want === undefined ? { claimed: [] } : store.claim(want, this)) }
  }

  async extend(leases: readonly Lease[], leaseMs: number): Promise<LeaseAnswer[]> {
    const store = this.#step(leases, 'extend')
    return leases.map((lease) => store.extend(lease, leaseMs))
  }

  async sweep(limit: number): Promise<Swept> {
    return this.#step([], 'sweep').sweep(limit)
  }

  async read(ids: readonly string[], watch = false): Promise<(Entry | undefined)[]> {
    const store = this.#step(ids, 'read')
    return ids.map((id) => store.read(id, watch))
  }

  async cancel(ids: readonly string[], reason?: string, options?: WriteOptions): Promise<CancelAnswer[]> {
    const store = this.#step(ids, 'cancel', options)
    return ids.map((id) => cancel(store, store.find(id), reason))
  }

  async promote(ids: readonly string[], priority?: number, options?: WriteOptions): Promise<PromoteAnswer[]> {
    const store = this.#step(ids, 'promote', options)
    return ids.map((id) => promote(store, store.find(id), priority))
  }

  async invalidate(selector: Selector, options?: WriteOptions): Promise<number> {
    return this.#step('keys' in selector ? selector.keys : [], 'invalidate', options).invalidate(selector)
  }

  async pause(lanes: Lanes, paused: boolean): Promise<void> {
    this.#step([], 'pause').lanes.pause(lanes, paused)
  }

  async list(filter: Filter, cursor?: string): Promise<Page> {
    return this.#step([], 'list').list(filter, cursor)
  }

  async count(): Promise<Counts> {
    const { lanes, totals } = this.#step([], 'count')
    return { lanes: lanes.counts(), paused: lanes.paused(), totals: { ...totals } }
  }

  listen(hear: (hint: Hint) => void): Listening {
    this.#listeners.add(hear)
    return { stop: () => this.#listeners.delete(hear), hears: () => true }
  }

  /** Called by the store in the middle of a step, so the listeners hear it after the step. */
  hear(hint: Hint): void {
    queueMicrotask(() => {
      for (const hear of this.#listeners) hear(hint)
    })
  }

  #step(items: readonly unknown[], verb: string, options?: WriteOptions): MapStore {
    if (this.#closed) throw new DeferqError('CLOSED', `${verb}(): this engine is closed. Open another one.`)
    refuseTx(options, this.name, verb)
    checkBatch(items, verb)
    return this.#store.step(this)
  }
}

const SHOWN = ['startedAt', 'finishedAt', 'progress'] as const
const OF_RESULT = ['result', 'freshUntil', 'staleUntil'] as const
const OF_ENTRY = ['extra', 'group', 'parent'] as const

/** A copy of the record as callers see it, without the fields that are undefined. */
function standingOf(run: Run): Standing {
  const { id, name, queue, status, priority, attempt, createdAt, dueAt } = run
  const standing = { id, name, queue, status, priority, attempt, createdAt, dueAt, errors: [...run.errors] }
  const fields = status === 'completed' ? [...SHOWN, ...OF_RESULT] : SHOWN
  return Object.assign(standing, present(run, fields))
}

function entryOf(run: Run): Entry {
  const entry = { ...standingOf(run), params: run.params, policy: { ...run.policy } }
  return Object.assign(entry, present(run, OF_ENTRY))
}

const present = (run: Run, fields: readonly (keyof Run)[]): Partial<Run> =>
  Object.fromEntries(fields.filter((field) => run[field] !== undefined).map((field) => [field, run[field]]))
