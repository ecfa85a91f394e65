// The facade: dispatch work, ask for its status, wait for its result, cancel it and forget it.
import type { BatchOptions, BatchStatus, MemberResult } from './batch/index.ts'
import { Batcher } from './batcher.ts'
import { Callbacks } from './callbacks.ts'
import { checkOptions, checkWhole, SHARED_OPTIONS } from './checks.ts'
import { Connection } from './connection.ts'
import { decode } from './decode.ts'
import { Dispatcher } from './dispatcher.ts'
import { Drafter } from './draft.ts'
import { drained } from './drain.ts'
import type { CancelAnswer, Counts, Draft, Engine, Entry, Filter, Hint, Lanes, Selector } from './engine.ts'
import { MAX_BATCH } from './engine.ts'
import { isInterface, openEngine } from './engines/open.ts'
import { DeferqError } from './errors.ts'
import { isId, keyOf, newRun } from './fingerprint.ts'
import { DEFAULT_LOGGER, unfailing } from './log.ts'
import type { Near, NearCacheOptions } from './near.ts'
import { nearCacheOf } from './near.ts'
import type {
  DispatchOptions,
  InputOf,
  NameOf,
  OptionsOf,
  ResultOf,
  TaskNamed,
  WaitOptions,
} from './options.ts'
import { checkKnown, checkLimits, checkLogger, checkWait } from './options.ts'
import { dispatchedOf, outcomeOf, receiptOf } from './receipt.ts'
import {
  abortedDispatch,
  byName,
  cancelText,
  checkId,
  checkLanes,
  rejected,
  unlessAborted,
} from './refusals.ts'
import type { ResultsOptions } from './results.ts'
import { resultsApart } from './results.ts'
import type { Schedule, ScheduleDefinition } from './schedule/index.ts'
import type { ScheduleOf } from './schedules.ts'
import { Schedules } from './schedules.ts'
import type { AnyTask, Dispatched, Logger, Receipt, SharedOptions } from './task.ts'
import type { Limits } from './value.ts'
import { notFound, Waiters } from './waiters.ts'

export interface DeferQOptions<Tasks extends readonly AnyTask[]> {
  /** Where the state lives: none or 'memory:', 'sqlite:./deferq.db', 'redis://localhost', … */
  url?: string
  /** What requests are signed with where the url is that of an HTTP interface: 'https://host/deferq'. */
  secret?: string
  /** Or an engine, made by hand. */
  engine?: Engine
  /** The tasks that may be dispatched, and that a worker of this deferq runs. Without them any name may be dispatched. */
  tasks?: Tasks
  /** Options for all tasks. */
  defaults?: SharedOptions
  /** The bounds of params: { depth, nodes, bytes }. */
  limits?: Partial<Limits>
  /** Where large results lie: in a Keyv store, while the engine keeps a reference. The same for workers and callers. */
  results?: ResultsOptions
  /** Keeps fresh results in this process too, and answers plain dispatches with them, without asking the store (false). */
  nearCache?: boolean | NearCacheOptions
  /** Anything shaped like pino; warnings and errors go to standard error unless given. */
  logger?: Logger
}

const KNOWN_OPTIONS = [
  'url',
  'secret',
  'engine',
  'tasks',
  'defaults',
  'limits',
  'results',
  'nearCache',
  'logger',
]

/** One item of `dispatchMany`. */
export type Item<
  Tasks extends readonly AnyTask[],
  Name extends NameOf<Tasks> = NameOf<Tasks>,
> = Name extends Name
  ? {
      name: Name
      params: InputOf<TaskNamed<Tasks, Name>>
      options?: OptionsOf<TaskNamed<Tasks, Name>, DispatchOptions>[0]
    }
  : never

export class DeferQ<const Tasks extends readonly AnyTask[] = readonly AnyTask[]> implements AsyncDisposable {
  /** By name; undefined when none were given, and any name may be dispatched. */
  readonly tasks: ReadonlyMap<string, AnyTask> | undefined
  /** For a worker, which has to know the time-out and the back-off among them. */
  readonly defaults: Readonly<SharedOptions>
  readonly limits: Partial<Limits> | undefined
  readonly logger: Logger
  /** The schedules in the store: list, get, pause, resume, run, remove. */
  readonly schedules: Schedules = new Schedules(this)
  readonly #log: Logger
  readonly #drafter: Drafter
  readonly #dispatcher: Dispatcher
  readonly #reads: Batcher<string, Entry | undefined>
  readonly #waiters: Waiters
  readonly #callbacks: Callbacks
  readonly #connection: Connection
  readonly #near: Near | undefined
  #closing: Promise<void> | undefined

  constructor(options: DeferQOptions<Tasks> = {}) {
    checkKnown(options, KNOWN_OPTIONS, 'new DeferQ()')
    const {
      url,
      secret,
      engine,
      tasks,
      defaults = {},
      limits,
      results,
      nearCache,
      logger = DEFAULT_LOGGER,
    } = options
    if (url !== undefined && engine !== undefined) {
      throw new DeferqError('INVALID_OPTION', 'new DeferQ(): give either url or engine, not both.')
    }
    checkOptions(defaults, 'new DeferQ(): defaults', SHARED_OPTIONS)
    if (isInterface(url) && Object.keys(defaults).length > 0)
      throw new DeferqError(
        'INVALID_OPTION',
        'new DeferQ(): the defaults behind an HTTP interface are those of its own side; give options with each dispatch.',
      )
    checkLimits(limits)
    checkLogger(logger, 'new DeferQ()')
    this.tasks = tasks === undefined ? undefined : byName(tasks)
    this.defaults = { ...defaults }
    this.limits = limits
    this.logger = logger
    this.#log = unfailing(logger)
    this.#near = nearCacheOf(nearCache)
    this.#connection = new Connection({
      make: resultsApart(engine === undefined ? openEngine(url, secret) : async () => engine, results),
      own: engine === undefined,
      opened: (opened) => this.#near?.opened(opened),
      hear: (hint) => this.#hear(hint),
    })
    this.#drafter = new Drafter(this.tasks, this.defaults, limits, isInterface(url))
    const opened = (): Promise<Engine> => this.open()
    this.#dispatcher = new Dispatcher(opened)
    this.#reads = new Batcher(async (ids) => (await opened()).read(ids))
    this.#waiters = new Waiters(opened)
    this.#callbacks = new Callbacks(this.#waiters, logger)
  }

  /** Connects now rather than with the first call, so that a wrong address is found at the start. */
  open(): Promise<Engine> {
    return this.#connection.open()
  }

  /** Asks for the work: it is run unless its result is there or on its way, and the receipt tells which. */
  async dispatch<Name extends NameOf<Tasks>>(
    name: Name,
    params: InputOf<TaskNamed<Tasks, Name>>,
    ...[options]: OptionsOf<TaskNamed<Tasks, Name>, DispatchOptions<ResultOf<TaskNamed<Tasks, Name>>>>
  ): Promise<Dispatched<ResultOf<TaskNamed<Tasks, Name>>>> {
    return (await this.#dispatch(name, params, options as DispatchOptions | undefined)) as Dispatched<never>
  }

  /** Many at once, in as few round trips as the store allows; answers line up. Nothing is dispatched when one is malformed. */
  async dispatchMany(items: readonly Item<Tasks>[]): Promise<Dispatched[]> {
    const drafts = await Promise.all(
      items.map(
        async (
          { name, params, options }: { name: string; params: unknown; options?: DispatchOptions },
          index,
        ) => {
          try {
            if (options?.signal?.aborted) throw abortedDispatch(name, options.signal)
            return await this.#drafter.draft(name, params, options, this.#callbacks.wanted(options))
          } catch (error) {
            if (error instanceof DeferqError) error.message = `dispatchMany()[${index}]: ${error.message}`
            throw error
          }
        },
      ),
    )
    return Promise.all(
      drafts.map((draft, index) => {
        const options = items[index]?.options as DispatchOptions | undefined
        return unlessAborted(this.#admit(draft, options), draft.name, options?.signal)
      }),
    )
  }

  /** Dispatches and waits: the result, however it came about; or the error with which the run ended. */
  async run<Name extends NameOf<Tasks>>(
    name: Name,
    params: InputOf<TaskNamed<Tasks, Name>>,
    ...[options]: OptionsOf<
      TaskNamed<Tasks, Name>,
      DispatchOptions<ResultOf<TaskNamed<Tasks, Name>>> & { wait?: WaitOptions['timeout'] }
    >
  ): Promise<ResultOf<TaskNamed<Tasks, Name>>> {
    if (options === undefined && this.#near !== undefined) {
      const near = this.#near.find(this.#near.spot(name, params))
      if (near !== undefined) return decode(near.result as string) as never
    }
    const { wait, ...rest } = (options ?? {}) as DispatchOptions & { wait?: WaitOptions['timeout'] }
    checkWait({ ...(wait === undefined ? {} : { timeout: wait }) }, `run('${name}')`, 'wait')
    const dispatched = await this.#dispatch(name, params, options === undefined ? undefined : rest, true)
    if (dispatched.status !== 'pending' && dispatched.status !== 'running')
      return outcomeOf(dispatched) as never
    const waiting = {
      ...(wait === undefined ? {} : { timeout: wait }),
      ...(rest.signal === undefined ? {} : { signal: rest.signal }),
    }
    return outcomeOf(receiptOf(await this.#waiters.wait(dispatched.taskId, waiting, true))) as never
  }

  /** Where the run with this id stands; TASK_NOT_FOUND for one that is not (any more). */
  async getStatus<Result = unknown>(taskId: string): Promise<Receipt<Result>> {
    return receiptOf(await this.#read(taskId)) as Receipt<Result>
  }

  /** The result if it is there: NOT_FINISHED while it is not; TASK_FAILED or TASK_CANCELLED if it never will be. */
  async getResult<Result = unknown>(taskId: string): Promise<Result> {
    return outcomeOf(receiptOf(await this.#read(taskId))) as Result
  }

  /** Waits for the run to end; answers as `getResult` does. */
  async result<Result = unknown>(taskId: string, options?: WaitOptions): Promise<Result> {
    checkId(taskId)
    return outcomeOf(receiptOf(await this.#waiters.wait(taskId, options))) as Result
  }

  /** Ends a run for all who wait for it. 'ended': too late; 'unknown': no such run. */
  async cancel(taskId: string, reason?: string): Promise<CancelAnswer> {
    checkId(taskId)
    const [answer] = await (await this.open()).cancel([taskId], cancelText(reason))
    return answer as CancelAnswer
  }

  /**
   * Forgets the result for these params, or all results of a name, or what stands under an id's key. Those who wait for
   * a run get its answer still; nobody after them does. Answers how many keys changed.
   */
  async invalidate<Name extends NameOf<Tasks>>(
    nameOrTaskId: Name | (string & {}),
    ...[params, options]: [
      params?: InputOf<TaskNamed<Tasks, Name>>,
      options?: Pick<DispatchOptions, 'scope' | 'idempotencyKey'>,
    ]
  ): Promise<number> {
    if (isId(nameOrTaskId)) return this.#forget({ keys: [keyOf(nameOrTaskId)] })
    if (params === undefined && options?.idempotencyKey === undefined) {
      if (options === undefined) return this.#forget({ name: nameOrTaskId })
      throw new DeferqError(
        'INVALID_OPTION',
        `invalidate('${nameOrTaskId}'): a scope needs the params too; without both, all results of the name are forgotten.`,
      )
    }
    return this.#forget(await this.#drafter.selector(nameOrTaskId, params, options))
  }

  /** Dispatches a failed or cancelled run anew, with the params and options it had. */
  async retry(taskId: string): Promise<Dispatched> {
    const run = await this.#read(taskId)
    if (run.status !== 'failed' && run.status !== 'cancelled') {
      throw new DeferqError(
        'NOT_FINISHED',
        `The run ${taskId.slice(0, 12)}… is ${run.status}: only what failed or was cancelled can be retried.`,
      )
    }
    const { name, queue, params, priority, policy, extra, group } = run
    const draft: Draft = {
      id: keyOf(taskId) + newRun(),
      name,
      queue,
      params,
      priority,
      policy,
      delayMs: 0,
      refresh: true,
    }
    if (extra !== undefined) draft.extra = extra
    if (group !== undefined) draft.group = group
    return this.#admit(draft, undefined)
  }

  /** Runs that match, a page at a time. */
  async list(filter: Filter = {}, cursor?: string): Promise<{ receipts: Receipt[]; cursor?: string }> {
    if (filter.limit !== undefined) checkWhole(filter.limit, 1, MAX_BATCH, 'list(): limit')
    const page = await (await this.open()).list(filter, cursor)
    const receipts = page.entries.map(receiptOf)
    return page.cursor === undefined ? { receipts } : { receipts, cursor: page.cursor }
  }

  /** Nothing of a queue, or of a task's name, is begun until it is resumed; what runs goes on, and dispatches are taken in as ever. */
  async pause(lanes: Lanes): Promise<void> {
    checkLanes(lanes, 'pause()')
    await (await this.open()).pause(lanes, true)
  }

  async resume(lanes: Lanes): Promise<void> {
    checkLanes(lanes, 'resume()')
    await (await this.open()).pause(lanes, false)
  }

  /** Pauses, and waits until nothing of it runs any more: before maintenance, say. WAIT_TIMEOUT leaves it paused. */
  async drain(lanes: Lanes, options: WaitOptions = {}): Promise<void> {
    checkLanes(lanes, 'drain()')
    await drained(await this.open(), lanes, options)
  }

  /**
   * Runs a task again and again: by a cron expression in a time zone, or at an interval. Kept in the store under its key, so that it
   * may be defined by every process at its start: an equal definition changes nothing, and each occurrence is one task.
   */
  async schedule(key: string, definition: ScheduleOf<Tasks>): Promise<Schedule> {
    return (await import('./schedule/index.ts')).defineSchedule(this, key, definition as ScheduleDefinition)
  }

  /**
   * Many dispatches under one id: counted together, with callbacks for the whole. A member deduplicates as any dispatch does, and
   * one whose result is there counts at once.
   */
  async batch(items: readonly Item<Tasks>[], options?: BatchOptions): Promise<BatchStatus> {
    return (await import('./batch/index.ts')).batch(this, items as never, options)
  }

  async getBatch(batchId: string): Promise<BatchStatus> {
    checkId(batchId)
    return (await import('./batch/index.ts')).getBatch(this, batchId)
  }

  /** Waits until all members have ended: the result or the error of each, in their order. */
  async batchResults(batchId: string, options?: WaitOptions): Promise<MemberResult[]> {
    checkId(batchId)
    return (await import('./batch/index.ts')).batchResults(this, batchId, options)
  }

  /** Cancels the batch, and of its members those that it has created. */
  async cancelBatch(batchId: string, reason?: string): Promise<BatchStatus> {
    checkId(batchId)
    return (await import('./batch/index.ts')).cancelBatch(this, batchId, reason)
  }

  /** What waits and runs, by queue and name, and what has happened since the store began. */
  async stats(): Promise<Counts> {
    return (await this.open()).count()
  }

  /** For what is built on dispatches: the draft that one would send. */
  async draft(name: string, params: unknown, options?: DispatchOptions): Promise<Draft> {
    return this.#drafter.draft(name, params, options, false)
  }

  /** For workers: the engine's hints, also across a reconnect. Answers a function that stops listening. */
  listen(hear: (hint: Hint) => void): () => void {
    return this.#connection.listen(hear)
  }

  /** Fails what is waited for with CLOSED, gives callbacks under way a moment to end, and lets go of the store. */
  close(): Promise<void> {
    this.#closing ??= this.#connection.close(async () => {
      this.#waiters.close()
      await this.#callbacks.close()
    })
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #hear(hint: Hint): void {
    if (hint.kind === 'trouble') {
      this.#log.warn(hint.error === undefined ? {} : { error: hint.error }, hint.message)
    }
    this.#near?.hear(hint)
    this.#waiters.hear(hint)
  }

  /** No layer of promises more than it needs: each costs a dispatch 0.3 µs. What it throws becomes its callers' rejection. */
  #dispatch(
    name: string,
    params: unknown,
    options: DispatchOptions | undefined,
    watch = false,
  ): Promise<Dispatched> {
    if (options?.signal?.aborted) throw abortedDispatch(name, options.signal)
    if (watch && options?.tx !== undefined) {
      throw new DeferqError(
        'INVALID_OPTION',
        `run('${name}') can't go with tx: it would wait for what nobody sees before the commit. dispatch() in the transaction, and wait with result() after it.`,
      )
    }
    const near = options === undefined ? this.#near : undefined
    const spot = near?.spot(name, params)
    const found = spot === undefined ? undefined : near?.find(spot)
    if (found !== undefined)
      return Promise.resolve(dispatchedOf({ outcome: 'hit', entry: found, sameParams: true }))
    const drafted = this.#drafter.draft(name, params, options, watch || this.#callbacks.wanted(options))
    const admitted =
      drafted instanceof Promise
        ? drafted.then((draft) => this.#admit(draft, options, spot))
        : this.#admit(drafted, options, spot)
    return unlessAborted(admitted, name, options?.signal)
  }

  #admit(draft: Draft, options: DispatchOptions | undefined, spot?: string): Promise<Dispatched> {
    const { tx } = options ?? {}
    const near = this.#near
    const sentAt = near === undefined ? 0 : performance.now()
    const epoch = near?.epoch as number
    const admitted =
      tx === undefined ? this.#dispatcher.admit(draft) : this.#dispatcher.admitWithin(draft, tx)
    return admitted.then((verdict) => {
      if (verdict.outcome === 'rejected') throw verdict.error ?? rejected(draft, verdict)
      if (options?.callback !== undefined) this.#callbacks.attach(options.callback, verdict.entry)
      if (spot !== undefined) near?.keep(spot, verdict, sentAt, epoch)
      // What is asked for anew shall not be answered with what was known before.
      else if (draft.refresh) near?.forget({ keys: [keyOf(draft.id)] })
      return dispatchedOf(verdict)
    })
  }

  async #forget(selector: Selector): Promise<number> {
    this.#near?.forget(selector)
    const changed = await (await this.open()).invalidate(selector)
    // What was answered meanwhile may have come before it.
    this.#near?.forget(selector)
    return changed
  }

  async #read(taskId: string): Promise<Entry> {
    checkId(taskId)
    const entry = await this.#reads.add(taskId)
    if (entry === undefined) throw notFound(taskId)
    return entry
  }
}
