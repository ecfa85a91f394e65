// The memory engine: one process, nothing to install; connections to a `MemoryStore`.

import { DeferqError } from '../../base/errors.ts'
import type {
  CancelAnswer,
  Claims,
  Counts,
  Draft,
  Engine,
  Entry,
  Filter,
  HastenAnswer,
  Hint,
  Lanes,
  Lease,
  LeaseAnswer,
  Outcome,
  Page,
  Selector,
  Settled,
  Swept,
  Verdict,
  Want,
} from '../../contract/engine.ts'
import { checkBatch } from '../../contract/engine.ts'
import { MemoryStore } from './store.ts'

/** A connection to a `MemoryStore`: of its own, unless one is handed over. */
export class MemoryEngine implements Engine {
  readonly name = 'memory'
  readonly caveats: readonly string[] = [
    'Everything lies in this process: its end loses all tasks and results.',
  ]
  readonly #store: MemoryStore
  readonly #listeners = new Set<(hint: Hint) => void>()
  #closed = false

  constructor(options: { store?: MemoryStore; now?: () => number } = {}) {
    this.#store = options.store ?? new MemoryStore(options.now)
    this.#store.join(this)
  }

  async open(): Promise<void> {
    this.#check()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#store.leave(this)
    this.#listeners.clear()
  }

  async admit(drafts: readonly Draft[]): Promise<Verdict[]> {
    this.#check(drafts, 'admit')
    return drafts.map((draft) => this.#store.admit(draft, this))
  }

  async claim(want: Want): Promise<Claims> {
    this.#check()
    return this.#store.claim(want, this)
  }

  async settle(outcomes: readonly Outcome[], want?: Want): Promise<Settled> {
    this.#check(outcomes, 'settle')
    const answers = outcomes.map((outcome) => this.#store.settle(outcome))
    return { answers, ...(want === undefined ? { claimed: [] } : this.#store.claim(want, this)) }
  }

  async extend(leases: readonly Lease[], leaseMs: number): Promise<LeaseAnswer[]> {
    this.#check(leases, 'extend')
    return leases.map((lease) => this.#store.extend(lease, leaseMs))
  }

  async sweep(limit: number): Promise<Swept> {
    this.#check()
    return this.#store.sweep(limit)
  }

  async read(ids: readonly string[], watch = false): Promise<(Entry | undefined)[]> {
    this.#check(ids, 'read')
    return ids.map((id) => this.#store.read(id, watch ? this : undefined))
  }

  async cancel(ids: readonly string[], reason?: string): Promise<CancelAnswer[]> {
    this.#check(ids, 'cancel')
    return ids.map((id) => this.#store.cancel(id, reason))
  }

  async hasten(ids: readonly string[], priority?: number): Promise<HastenAnswer[]> {
    this.#check(ids, 'hasten')
    return ids.map((id) => this.#store.hasten(id, priority))
  }

  async invalidate(selector: Selector): Promise<number> {
    this.#check('keys' in selector ? selector.keys : [], 'invalidate')
    return this.#store.invalidate(selector)
  }

  async pause(lanes: Lanes, paused: boolean): Promise<void> {
    this.#check()
    this.#store.pause(lanes, paused)
  }

  async list(filter: Filter, cursor?: string): Promise<Page> {
    this.#check()
    return this.#store.list(filter, cursor)
  }

  async count(): Promise<Counts> {
    this.#check()
    return this.#store.count()
  }

  hears(): boolean {
    return true
  }

  listen(hear: (hint: Hint) => void): () => void {
    this.#listeners.add(hear)
    return () => this.#listeners.delete(hear)
  }

  /** Called by the store; deferred, so that no listener runs in the middle of a change. */
  hear(hint: Hint): void {
    queueMicrotask(() => {
      for (const hear of this.#listeners) hear(hint)
    })
  }

  #check(items: readonly unknown[] = [], method = ''): void {
    if (this.#closed) throw new DeferqError('CLOSED', 'This memory engine is closed: open a new one.')
    checkBatch(items, method)
  }
}

export { MemoryStore }
