// The memory engine: one process, nothing to install; connections to a `MemoryStore`.

import { DeferqError } from '../../base/errors.ts'
import type {
  AttemptOutcome,
  CancelAnswer,
  Claims,
  Counts,
  Draft,
  Engine,
  Entry,
  Filter,
  Hint,
  Lanes,
  Lease,
  LeaseAnswer,
  Listening,
  Maintenance,
  Page,
  PromoteAnswer,
  Selector,
  Settled,
  Swept,
  Verdict,
  Want,
  WriteOptions,
} from '../../contract/engine.ts'
import { checkBatch, refuseTx } from '../../contract/engine.ts'
import { MemoryStore } from './store.ts'

/** A connection to a `MemoryStore`: of its own, unless one is handed over. */
export class MemoryEngine implements Engine {
  readonly name = 'memory'
  readonly shards = 1
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

  async admit(drafts: readonly Draft[], options?: WriteOptions): Promise<Verdict[]> {
    refuseTx(options, this.name, 'admit')
    this.#check(drafts, 'admit')
    return this.#store.admit(drafts, this)
  }

  async claim(want: Want): Promise<Claims> {
    this.#check()
    return this.#store.claim(want, this)
  }

  async settle(outcomes: readonly AttemptOutcome[], want?: Want, options?: WriteOptions): Promise<Settled> {
    refuseTx(options, this.name, 'settle')
    this.#check(outcomes, 'settle')
    const answers = this.#store.settle(outcomes)
    return { answers, ...(want === undefined ? { claimed: [] } : this.#store.claim(want, this)) }
  }

  async extend(leases: readonly Lease[], leaseMs: number): Promise<LeaseAnswer[]> {
    this.#check(leases, 'extend')
    return this.#store.extend(leases, leaseMs)
  }

  async sweep(limit: number): Promise<Swept> {
    this.#check()
    return this.#store.sweep(limit)
  }

  async read(ids: readonly string[], watch = false): Promise<(Entry | undefined)[]> {
    this.#check(ids, 'read')
    return this.#store.read(ids, watch ? this : undefined)
  }

  async cancel(ids: readonly string[], reason?: string, options?: WriteOptions): Promise<CancelAnswer[]> {
    refuseTx(options, this.name, 'cancel')
    this.#check(ids, 'cancel')
    return this.#store.cancel(ids, reason)
  }

  async promote(ids: readonly string[], priority?: number, options?: WriteOptions): Promise<PromoteAnswer[]> {
    refuseTx(options, this.name, 'promote')
    this.#check(ids, 'promote')
    return this.#store.promote(ids, priority)
  }

  async invalidate(selector: Selector, options?: WriteOptions): Promise<number> {
    refuseTx(options, this.name, 'invalidate')
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

  listen(hear: (hint: Hint) => void): Listening {
    this.#listeners.add(hear)
    return { stop: () => this.#listeners.delete(hear), hears: () => true }
  }

  async maintenance(): Promise<Maintenance> {
    this.#check()
    const { MemoryMaintenance } = await import('./maintenance.ts')
    return new MemoryMaintenance(this.#store, (items, method) => this.#check(items, method))
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
