// The backend over a store: drafts are made here, and the engine admits them.

import { Batcher } from '../base/batcher.ts'
import { unfailing } from '../base/log.ts'
import type {
  CancelAnswer,
  Counts,
  Draft,
  Engine,
  Entry,
  Filter,
  Hint,
  Lanes,
  PromoteAnswer,
  Selector,
  Standing,
} from '../contract/engine.ts'
import { isEnded } from '../contract/engine.ts'
import type { DispatchOptions, WaitOptions } from '../tasks/options.ts'
import type { Dispatched } from '../tasks/task.ts'
import { keyOf } from '../values/fingerprint.ts'
import type { AnyItem } from './api.ts'
import type { Backend, Forgotten, RunOptions, SeenPage, Surroundings } from './backend.ts'
import { Callbacks } from './callbacks.ts'
import { Dispatcher } from './dispatcher.ts'
import { Drafter } from './draft.ts'
import { anew } from './draft-again.ts'
import { draftMany } from './draft-many.ts'
import { cancelText, unlessAborted } from './errors.ts'
import type { NearCache } from './near-cache.ts'
import { Pipeline } from './pipeline.ts'
import { asIs, dispatchedOf, resultOf } from './receipt.ts'
import { StoreConnection } from './store-connection.ts'
import { notFound, Waiters, waitingOf } from './waiters.ts'

export interface StoreBackendOptions extends Surroundings {
  make: () => Promise<Engine>
  /** Whether `make` makes the engine, which is closed on failure then. */
  own: boolean
  near: NearCache | undefined
}

export class StoreBackend implements Backend {
  readonly tasks: Surroundings['tasks']
  readonly defaults: Surroundings['defaults']
  readonly limits: Surroundings['limits']
  readonly logger: Surroundings['logger']
  readonly #near: NearCache | undefined
  readonly #connection: StoreConnection
  readonly #drafter: Drafter
  readonly #reads: Batcher<string, Entry | undefined>
  readonly #waiters: Waiters
  readonly #callbacks: Callbacks
  readonly #pipeline: Pipeline

  constructor({ make, own, near, tasks, defaults, limits, logger }: StoreBackendOptions) {
    this.tasks = tasks
    this.defaults = defaults
    this.limits = limits
    this.logger = logger
    this.#near = near
    const log = unfailing(logger)
    this.#connection = new StoreConnection({
      make,
      own,
      opened: (_engine, listening) => near?.opened(listening),
      hear: (hint) => {
        if (hint.kind === 'trouble')
          log.warn(hint.error === undefined ? {} : { error: hint.error }, hint.message)
        near?.hear(hint)
        this.#waiters.hear(hint)
      },
    })
    const opened = (): Promise<Engine> => this.open()
    this.#drafter = new Drafter(tasks, defaults, limits)
    this.#reads = new Batcher(async (ids) => (await opened()).read(ids))
    this.#waiters = new Waiters(opened)
    this.#callbacks = new Callbacks(this.#waiters, logger)
    this.#pipeline = new Pipeline({
      drafter: this.#drafter,
      dispatcher: new Dispatcher(opened),
      near,
      callbacks: this.#callbacks,
    })
  }

  open(): Promise<Engine> {
    return this.#connection.open()
  }

  listen(hear: (hint: Hint) => void): () => void {
    return this.#connection.listen(hear)
  }

  close(): Promise<void> {
    return this.#connection.close(async () => {
      this.#waiters.close()
      await this.#callbacks.close()
    })
  }

  async draft(name: string, params: unknown, options?: DispatchOptions): Promise<Draft> {
    return this.#drafter.draft(name, params, options, false)
  }

  dispatch(name: string, params: unknown, options?: DispatchOptions): Promise<Dispatched> {
    try {
      return this.#pipeline.dispatch(name, params, options, dispatchedOf)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async dispatchMany(items: readonly AnyItem[]): Promise<Dispatched[]> {
    const drafts = await draftMany(items, (name, params, options) =>
      this.#drafter.draft(name, params, options, this.#callbacks.wanted(options)),
    )
    return Promise.all(
      drafts.map((draft, index) => {
        const options = items[index]?.options
        return unlessAborted(this.#pipeline.admit(draft, options, dispatchedOf), draft.name, options?.signal)
      }),
    )
  }

  async run(name: string, params: unknown, options?: RunOptions): Promise<unknown> {
    const nearKey = options === undefined ? this.#near?.nearKey(params) : undefined
    if (nearKey !== undefined) {
      const kept = this.#near?.result(name, nearKey)
      if (kept !== undefined) return kept
    }
    const { rest, waiting } = waitingOf(name, options)
    const { entry } = await this.#pipeline.dispatch(name, params, rest, asIs, true, nearKey)
    if (isEnded(entry.status)) return resultOf(entry)
    return resultOf(await this.#waiters.wait(entry.id, waiting, true))
  }

  async retry(id: string): Promise<Dispatched> {
    return this.#pipeline.admit(anew(await this.find(id)), undefined, dispatchedOf)
  }

  wait(id: string, options?: WaitOptions): Promise<Standing> {
    return this.#waiters.wait(id, options)
  }

  async find(id: string): Promise<Entry> {
    const entry = await this.#reads.add(id)
    if (entry === undefined) throw notFound(id)
    return entry
  }

  async read(ids: readonly string[]): Promise<(Entry | undefined)[]> {
    return (await this.open()).read(ids)
  }

  async list(filter: Filter, cursor?: string): Promise<SeenPage> {
    const { entries, ...page } = await (await this.open()).list(filter, cursor)
    return { runs: entries, ...page }
  }

  async count(): Promise<Counts> {
    return (await this.open()).count()
  }

  async cancel(ids: readonly string[], reason?: string): Promise<CancelAnswer[]> {
    return (await this.open()).cancel(ids, cancelText(reason))
  }

  async promote(ids: readonly string[], priority?: number): Promise<PromoteAnswer[]> {
    return (await this.open()).promote(ids, priority)
  }

  async invalidate(forgotten: Forgotten): Promise<number> {
    const selector = await this.#selector(forgotten)
    this.#near?.forget(selector)
    const changed = await (await this.open()).invalidate(selector)
    // An answer that arrived meanwhile may be older than the invalidation.
    this.#near?.forget(selector)
    return changed
  }

  async pause(lanes: Lanes, paused: boolean): Promise<void> {
    await (await this.open()).pause(lanes, paused)
  }

  async #selector(forgotten: Forgotten): Promise<Selector> {
    if ('taskId' in forgotten) return { keys: [keyOf(forgotten.taskId)] }
    if (!('params' in forgotten)) return forgotten
    return this.#drafter.selector(forgotten.name, forgotten.params, forgotten.options)
  }
}
