// The backend over the HTTP interface of another application: the server makes the drafts, by its definitions.

import { Batcher } from '../base/batcher.ts'
import { DeferqError } from '../base/errors.ts'
import type {
  CancelAnswer,
  Counts,
  Draft,
  Engine,
  Filter,
  PromoteAnswer,
  Standing,
} from '../contract/engine.ts'
import { checkBatch, isEnded } from '../contract/engine.ts'
import type { AnyItem } from '../dispatch/api.ts'
import type { Backend, Forgotten, RunOptions, Seen, SeenPage, Surroundings } from '../dispatch/backend.ts'
import { Callbacks } from '../dispatch/callbacks.ts'
import { Drafter } from '../dispatch/draft.ts'
import { draftMany } from '../dispatch/draft-many.ts'
import { unlessAborted } from '../dispatch/errors.ts'
import { Pipeline } from '../dispatch/pipeline.ts'
import { asIs, dispatchedOf, resultOf } from '../dispatch/receipt.ts'
import { notFound, Waiters, waitingOf } from '../dispatch/waiters.ts'
import { keysOf } from '../signing/signature.ts'
import type { DispatchOptions, WaitOptions } from '../tasks/options.ts'
import type { Dispatched } from '../tasks/task.ts'
import { newRun } from '../values/fingerprint.ts'
import { Calls } from './calls.ts'
import { ItemDrafter, ItemSender } from './drafts.ts'
import { elsewhere, NO_STORE } from './no-store.ts'
import { Wakes } from './wakes.ts'
import type { Answer, Run } from './wire.ts'
import { seenOf, tagged, verdictOf } from './wire.ts'

export interface ClientOptions extends Surroundings {
  /** The path at which the interface is mounted: 'https://host/deferq'. */
  url: string
  /** None: the interface answers this machine alone, without signatures. */
  secret: string | undefined
  /** How long a call may take, with all its tries (10 s). */
  timeoutMs?: number
}

const TIMEOUT_MS = 10_000

export class Client implements Omit<Backend, 'listen'> {
  readonly tasks: Backend['tasks']
  readonly defaults: Backend['defaults']
  readonly limits: Backend['limits']
  readonly logger: Backend['logger']
  readonly #calls: Calls
  readonly #wakes: Wakes
  readonly #checks: Drafter
  readonly #drafter: ItemDrafter
  readonly #sender: ItemSender
  readonly #reads: Batcher<string, Seen | undefined>
  readonly #waiters: Waiters
  readonly #callbacks: Callbacks
  readonly #pipeline: Pipeline
  #opening: Promise<Engine> | undefined
  #closed = false

  constructor({ url, secret, timeoutMs = TIMEOUT_MS, tasks, defaults, limits, logger }: ClientOptions) {
    this.tasks = tasks
    this.defaults = defaults
    this.limits = limits
    this.logger = logger
    const keys = secret === undefined ? undefined : keysOf(secret, 'secret')
    this.#calls = new Calls({ url, keys, timeoutMs })
    this.#wakes = new Wakes(this.#calls, (hint) => this.#waiters.hear(hint))
    this.#checks = new Drafter(tasks, defaults, limits)
    this.#drafter = new ItemDrafter(this.#checks, limits)
    this.#sender = new ItemSender(this.#calls, (ids) => this.#wakes.add(ids))
    this.#reads = new Batcher((ids) => this.read(ids))
    this.#waiters = new Waiters(async () => ({ read: (ids, watch) => this.#read(ids, watch) }))
    this.#callbacks = new Callbacks(this.#waiters, logger)
    this.#pipeline = new Pipeline({
      drafter: this.#drafter,
      dispatcher: { admit: async (draft) => this.#open().#sender.admit(draft) },
      near: undefined,
      callbacks: this.#callbacks,
    })
  }

  /** Asks once whether the interface is there and takes the secret. */
  async open(): Promise<Engine> {
    this.#open()
    this.#opening ??= this.read([])
      .then(() => NO_STORE)
      .catch((error: unknown) => {
        // The interface may be back at the next call.
        this.#opening = undefined
        throw error
      })
    return this.#opening
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#waiters.close()
    await this.#callbacks.close()
    this.#wakes.close()
  }

  async draft(name: string, params: unknown, options?: DispatchOptions): Promise<Draft> {
    return this.#drafter.draft(name, params, options, false)
  }

  async dispatch(name: string, params: unknown, options?: DispatchOptions): Promise<Dispatched> {
    return this.#pipeline.dispatch(name, params, options, dispatchedOf)
  }

  async dispatchMany(items: readonly AnyItem[]): Promise<Dispatched[]> {
    const drafts = await draftMany(items, (name, params, options) =>
      this.#drafter.draft(name, params, options, this.#callbacks.wanted(options)),
    )
    const sent = this.#open().#sender.admitMany(drafts)
    return Promise.all(
      drafts.map(({ name }, index) => {
        const { callback, signal } = items[index]?.options ?? {}
        const dispatched = sent.then(async (answers) => {
          const verdict = await verdictOf(answers[index] as Answer)
          if (callback !== undefined) this.#callbacks.attach(callback, verdict.entry)
          return dispatchedOf(verdict)
        })
        return unlessAborted(dispatched, name, signal)
      }),
    )
  }

  async run(name: string, params: unknown, options?: RunOptions): Promise<unknown> {
    const { rest, waiting } = waitingOf(name, options)
    const { entry } = await this.#pipeline.dispatch(name, params, rest, asIs, true)
    if (isEnded(entry.status)) return resultOf(entry)
    return resultOf(await this.#waiters.wait(entry.id, waiting, true))
  }

  async retry(id: string): Promise<Dispatched> {
    const items = [{ id, run: newRun() }]
    const { answers } = await this.#open().#calls.post<{ answers: [Answer] }>('/retries', { items })
    return dispatchedOf(await verdictOf(answers[0]))
  }

  wait(id: string, options?: WaitOptions): Promise<Standing> {
    return this.#waiters.wait(id, options)
  }

  async find(id: string): Promise<Seen> {
    const run = await this.#reads.add(id)
    if (run === undefined) throw notFound(id)
    return run
  }

  read(ids: readonly string[]): Promise<(Seen | undefined)[]> {
    return this.#read(ids)
  }

  async list({ status, name, queue, limit }: Filter, cursor?: string): Promise<SeenPage> {
    const query = new URLSearchParams()
    for (const [member, value] of Object.entries({ status, name, queue, limit, cursor }))
      if (value !== undefined) query.set(member, String(value))
    const path = query.size === 0 ? '/runs' : `/runs?${query}`
    const { runs, ...page } = await this.#open().#calls.get<{ runs: Run[]; cursor?: string }>(path)
    return { runs: runs.map(seenOf), ...page }
  }

  async count(): Promise<Counts> {
    return this.#open().#calls.get('/stats')
  }

  async cancel(ids: readonly string[], reason?: string): Promise<CancelAnswer[]> {
    return (await this.#answers<CancelAnswer>('/cancellations', { ids, reason })).answers
  }

  async promote(ids: readonly string[], priority?: number): Promise<PromoteAnswer[]> {
    return (await this.#answers<PromoteAnswer>('/promotions', { ids, priority })).answers
  }

  async invalidate(forgotten: Forgotten): Promise<number> {
    const body = 'params' in forgotten ? await this.#checked(forgotten) : forgotten
    const reply = await this.#open().#calls.post<{ invalidated: number }>('/invalidations', body)
    return reply.invalidated
  }

  async pause(): Promise<void> {
    throw elsewhere('pause()')
  }

  /** Refuses at once whatever the definitions that are known here refuse. */
  async #checked({ name, params, options }: Extract<Forgotten, { params: unknown }>): Promise<object> {
    await this.#checks.selector(name, params, options)
    const { scope, idempotencyKey } = options
    return {
      name,
      scope,
      idempotencyKey,
      ...(params === undefined ? {} : { params: tagged(params, this.limits) }),
    }
  }

  #answers<Each>(path: string, body: object): Promise<{ answers: Each[] }> {
    return this.#open().#calls.post(path, body)
  }

  async #read(ids: readonly string[], watch = false): Promise<(Seen | undefined)[]> {
    checkBatch(ids, 'read')
    const { runs } = await this.#open().#calls.post<{ runs: (Run | null)[] }>('/reads', { ids })
    if (watch) this.#wakes.add(runs.flatMap((run) => (run !== null && !isEnded(run.status) ? run.id : [])))
    return runs.map((run) => (run === null ? undefined : seenOf(run)))
  }

  #open(): this {
    if (this.#closed) throw new DeferqError('CLOSED', 'This deferq is closed: make a new one.')
    return this
  }
}
