// The facade: dispatch work, ask for its status, wait for its result, cancel it and forget it.

import { Batcher } from './base/batcher.ts'
import type { Logger } from './base/log.ts'
import { unfailing } from './base/log.ts'
import type { BatchOptions, BatchStatus, MemberResult } from './batch/index.ts'
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
} from './contract/engine.ts'
import { isEnded, MAX_BATCH } from './contract/engine.ts'
import type { Dispatching } from './dispatch/api.ts'
import { Callbacks } from './dispatch/callbacks.ts'
import { Dispatcher } from './dispatch/dispatcher.ts'
import { Drafter } from './dispatch/draft.ts'
import { anew } from './dispatch/draft-again.ts'
import { draftMany } from './dispatch/draft-many.ts'
import { drained } from './dispatch/drain.ts'
import {
  byName,
  cancelText,
  checked,
  checkId,
  checkLanes,
  scopeAlone,
  unlessAborted,
} from './dispatch/errors.ts'
import type { Near } from './dispatch/near-cache.ts'
import { nearCacheOf } from './dispatch/near-cache.ts'
import { Asker } from './dispatch/pipeline.ts'
import { asIs, dispatchedOf, receiptOf, resultOf } from './dispatch/receipt.ts'
import { Connection } from './dispatch/store-connection.ts'
import { notFound, Waiters } from './dispatch/waiters.ts'
import { isInterface, openEngine } from './engines/open.ts'
import type { MomentOf, Published, QuickOptions } from './publish/publisher.ts'
import { Publisher, quick } from './publish/publisher.ts'
import type { RequestOptions, RequestResult } from './requests/request-spec.ts'
import { resultsApart } from './results/large-results.ts'
import type { ScheduleDefinition } from './schedule/define.ts'
import type { ScheduleOf } from './schedule/facade.ts'
import { Schedules } from './schedule/facade.ts'
import type { Schedule } from './schedule/index.ts'
import { checkPriority, checkWhole } from './tasks/check-options.ts'
import type {
  DeferQOptions,
  DispatchOptions,
  InputOf,
  Item,
  NameOf,
  OptionsOf,
  ResultOf,
  TaskNamed,
  WaitOptions,
} from './tasks/options.ts'
import { checkWait, HTTP_REQUEST } from './tasks/options.ts'
import type { AnyTask, Dispatched, Receipt, SharedOptions } from './tasks/task.ts'
import { isId, keyOf } from './values/fingerprint.ts'
import type { Limits } from './values/limits.ts'

export type { DeferQOptions, Item } from './tasks/options.ts'

export class DeferQ<const Tasks extends readonly AnyTask[] = readonly AnyTask[]> implements AsyncDisposable {
  /** By name; undefined when none were given, and any name may be dispatched. */
  readonly tasks: ReadonlyMap<string, AnyTask> | undefined
  /** For a worker, which has to know the time-out and the back-off among them. */
  readonly defaults: Readonly<SharedOptions>
  readonly limits: Partial<Limits> | undefined
  readonly logger: Logger
  /** The schedules in the store: list, get, pause, resume, run, remove. */
  readonly schedules: Schedules
  /** This object without the types of its tasks: the features below check names and params when they run. */
  readonly #untyped = this as unknown as Dispatching
  readonly #log: Logger
  readonly #drafter: Drafter
  readonly #asker: Asker
  readonly #reads: Batcher<string, Entry | undefined>
  readonly #waiters: Waiters
  readonly #callbacks: Callbacks
  readonly #connection: Connection
  readonly #near: Near | undefined
  #closing: Promise<void> | undefined

  constructor(options: DeferQOptions<Tasks> = {}) {
    const { url, secret, engine, tasks, defaults = {}, limits, results, nearCache, logger } = checked(options)
    this.schedules = new Schedules(this.#untyped)
    this.tasks = tasks === undefined ? undefined : byName(tasks)
    this.defaults = { ...defaults }
    this.limits = limits
    this.logger = logger
    this.#log = unfailing(logger)
    this.#near = nearCacheOf(nearCache)
    this.#connection = new Connection({
      make: resultsApart(engine === undefined ? openEngine(url, secret) : async () => engine, results),
      own: engine === undefined,
      opened: (_engine, listening) => this.#near?.opened(listening),
      hear: (hint) => this.#hear(hint),
    })
    this.#drafter = new Drafter(this.tasks, this.defaults, limits, isInterface(url))
    const opened = (): Promise<Engine> => this.open()
    this.#reads = new Batcher(async (ids) => (await opened()).read(ids))
    this.#waiters = new Waiters(opened)
    this.#callbacks = new Callbacks(this.#waiters, logger)
    this.#asker = new Asker({
      drafter: this.#drafter,
      dispatcher: new Dispatcher(opened),
      near: this.#near,
      callbacks: this.#callbacks,
    })
  }

  /** Connects now rather than with the first call, so that a wrong address is found at the start. */
  open(): Promise<Engine> {
    return this.#connection.open()
  }

  /** Asks for the work: it is run unless its result is there or on its way, and the receipt tells which. */
  dispatch<Name extends NameOf<Tasks>>(
    name: Name,
    params: InputOf<TaskNamed<Tasks, Name>>,
    ...[options]: OptionsOf<TaskNamed<Tasks, Name>, DispatchOptions<ResultOf<TaskNamed<Tasks, Name>>>>
  ): Promise<Dispatched<ResultOf<TaskNamed<Tasks, Name>>>> {
    try {
      return this.#asker.ask(name, params, options as DispatchOptions | undefined, dispatchedOf) as Promise<
        Dispatched<never>
      >
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Many at once, in as few round trips as the store allows; answers line up. Nothing is dispatched when one is malformed. */
  async dispatchMany(items: readonly Item<Tasks>[]): Promise<Dispatched[]> {
    const drafts = await draftMany(items, (name, params, options) =>
      this.#drafter.draft(name, params, options, this.#callbacks.wanted(options)),
    )
    return Promise.all(
      drafts.map((draft, index) => {
        const options = items[index]?.options as DispatchOptions | undefined
        return unlessAborted(this.#asker.admit(draft, options, dispatchedOf), draft.name, options?.signal)
      }),
    )
  }

  /**
   * Sends a request over HTTP, durably: a worker with httpRequest() among its tasks tries it until it succeeds, is given up or
   * expires. Equal requests share what is under way.
   */
  async request(options: RequestOptions): Promise<Dispatched<RequestResult>> {
    const { dispatchOf } = await import('./requests/request-spec.ts')
    const { params, options: rest } = dispatchOf(options, 'request()')
    const sent = await this.#asker.ask(HTTP_REQUEST, params, rest as DispatchOptions, dispatchedOf)
    return sent as Dispatched<RequestResult>
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
    const spot = options === undefined ? this.#near?.spot(params) : undefined
    if (spot !== undefined) {
      const kept = this.#near?.result(name, spot)
      if (kept !== undefined) return kept as never
    }
    const { wait, ...rest } = (options ?? {}) as DispatchOptions & { wait?: WaitOptions['timeout'] }
    const waiting: WaitOptions = {}
    if (wait !== undefined) {
      waiting.timeout = wait
      checkWait(waiting, `run('${name}')`, 'wait')
    }
    if (rest.signal !== undefined) waiting.signal = rest.signal
    const { entry } = await this.#asker.ask(name, params, options && rest, asIs, true, spot)
    if (isEnded(entry.status)) return resultOf(entry) as never
    return resultOf(await this.#waiters.wait(entry.id, waiting, true)) as never
  }

  /** Where the run with this id stands; TASK_NOT_FOUND for one that is not (any more). */
  async getStatus<Result = unknown>(taskId: string): Promise<Receipt<Result>> {
    return receiptOf(await this.#read(taskId)) as Receipt<Result>
  }

  /** The result if it is there: NOT_FINISHED while it is not; TASK_FAILED or TASK_CANCELLED if it never will be. */
  async getResult<Result = unknown>(taskId: string): Promise<Result> {
    return resultOf(await this.#read(taskId)) as Result
  }

  /** Waits for the run to end; answers as `getResult` does. */
  async result<Result = unknown>(taskId: string, options?: WaitOptions): Promise<Result> {
    checkId(taskId)
    return resultOf(await this.#waiters.wait(taskId, options)) as Result
  }

  /** Ends a run for all who wait for it. 'ended': too late; 'unknown': no such run. */
  async cancel(taskId: string, reason?: string): Promise<CancelAnswer> {
    checkId(taskId)
    const [answer] = await (await this.open()).cancel([taskId], cancelText(reason))
    return answer as CancelAnswer
  }

  /** A run that waits for a later moment, or for its next attempt, is due now. 'due', 'running', 'ended' or 'unknown'. */
  async hasten(taskId: string, { priority }: { priority?: number } = {}): Promise<PromoteAnswer> {
    checkId(taskId)
    if (priority !== undefined) checkPriority(priority, 'hasten(): priority')
    const [answer] = await (await this.open()).promote([taskId], priority)
    return answer as PromoteAnswer
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
      throw scopeAlone(nameOrTaskId)
    }
    return this.#forget(await this.#drafter.selector(nameOrTaskId, params, options))
  }

  /** Dispatches a failed or cancelled run anew, with the params and options it had. */
  async retry(taskId: string): Promise<Dispatched> {
    return this.#asker.admit(anew(await this.#read(taskId)), undefined, dispatchedOf)
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

  /** A dispatch said word by word: publish(name).payload({…}).in('5m').when(…).commit(). */
  publish<Name extends NameOf<Tasks>>(
    name: Name,
  ): Publisher<InputOf<TaskNamed<Tasks, Name>>, ResultOf<TaskNamed<Tasks, Name>>> {
    return new Publisher(this.#untyped, name)
  }

  /** The same in one call: due at a moment, after a while ('5m'), or now (undefined). */
  async quick<Name extends NameOf<Tasks>>(
    name: Name,
    due: MomentOf<InputOf<TaskNamed<Tasks, Name>>> | undefined,
    payload: InputOf<TaskNamed<Tasks, Name>>,
    options: QuickOptions<InputOf<TaskNamed<Tasks, Name>>> = {},
  ): Promise<Published<ResultOf<TaskNamed<Tasks, Name>>>> {
    return quick(this.publish(name), due, payload, options)
  }

  /**
   * Runs a task again and again: by a cron expression in a time zone, or at an interval. Kept in the store under its key, so that it
   * may be defined by every process at its start: an equal definition changes nothing, and each occurrence is one task.
   */
  async schedule(key: string, definition: ScheduleOf<Tasks>): Promise<Schedule> {
    return (await import('./schedule/index.ts')).defineSchedule(
      this.#untyped,
      key,
      definition as ScheduleDefinition,
    )
  }

  /**
   * Many dispatches under one id: counted together, with callbacks for the whole. A member deduplicates as any dispatch does, and
   * one whose result is there counts at once.
   */
  async batch(items: readonly Item<Tasks>[], options?: BatchOptions): Promise<BatchStatus> {
    return (await import('./batch/index.ts')).batch(this.#untyped, items as never, options)
  }

  async getBatch(batchId: string): Promise<BatchStatus> {
    checkId(batchId)
    return (await import('./batch/index.ts')).getBatch(this.#untyped, batchId)
  }

  /** Waits until all members have ended: the result or the error of each, in their order. */
  async batchResults(batchId: string, options?: WaitOptions): Promise<MemberResult[]> {
    checkId(batchId)
    return (await import('./batch/index.ts')).batchResults(this.#untyped, batchId, options)
  }

  /** Cancels the batch, and of its members those that it has created. */
  async cancelBatch(batchId: string, reason?: string): Promise<BatchStatus> {
    checkId(batchId)
    return (await import('./batch/index.ts')).cancelBatch(this.#untyped, batchId, reason)
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
