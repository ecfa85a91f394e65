// The facade: dispatch work, ask for its status, wait for its result, cancel it and forget it.

import type { Logger } from './base/log.ts'
import type { BatchOptions, BatchStatus, MemberResult } from './batch/index.ts'
import { openClient } from './client/open.ts'
import type {
  CancelAnswer,
  Counts,
  Draft,
  Engine,
  Filter,
  Hint,
  Lanes,
  PromoteAnswer,
} from './contract/engine.ts'
import { MAX_BATCH } from './contract/engine.ts'
import type { AnyItem } from './dispatch/api.ts'
import type { Backend, Seen } from './dispatch/backend.ts'
import { byName, checked, checkId, checkLanes, scopeAlone } from './dispatch/errors.ts'
import { nearCacheOf } from './dispatch/near-cache.ts'
import { receiptOf, resultOf } from './dispatch/receipt.ts'
import { StoreBackend } from './dispatch/store-backend.ts'
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
import { HTTP_REQUEST } from './tasks/options.ts'
import type { AnyTask, Dispatched, Receipt, SharedOptions } from './tasks/task.ts'
import { isId } from './values/fingerprint.ts'
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
  /** Everything is done by it: over a store, or over the HTTP interface of another application. */
  readonly #backend: Backend
  #closing: Promise<void> | undefined

  constructor(options: DeferQOptions<Tasks> = {}) {
    const { url, secret, engine, tasks, defaults = {}, limits, results, nearCache, logger } = checked(options)
    this.tasks = tasks === undefined ? undefined : byName(tasks)
    this.defaults = { ...defaults }
    this.limits = limits
    this.logger = logger
    const near = nearCacheOf(nearCache)
    const shared = { tasks: this.tasks, defaults: this.defaults, limits, logger }
    if (url !== undefined && isInterface(url)) {
      this.#backend = openClient({ ...shared, url, secret })
    } else {
      const make = resultsApart(engine === undefined ? openEngine(url, secret) : async () => engine, results)
      this.#backend = new StoreBackend({ ...shared, make, own: engine === undefined, near })
    }
    this.schedules = new Schedules(this.#backend)
  }

  /** Connects now rather than with the first call, so that a wrong address is found at the start. */
  open(): Promise<Engine> {
    return this.#backend.open()
  }

  /** Asks for the work: it is run unless its result is there or on its way, and the receipt tells which. */
  dispatch<Name extends NameOf<Tasks>>(
    name: Name,
    params: InputOf<TaskNamed<Tasks, Name>>,
    ...[options]: OptionsOf<TaskNamed<Tasks, Name>, DispatchOptions<ResultOf<TaskNamed<Tasks, Name>>>>
  ): Promise<Dispatched<ResultOf<TaskNamed<Tasks, Name>>>> {
    return this.#backend.dispatch(name, params, options as DispatchOptions | undefined) as Promise<
      Dispatched<never>
    >
  }

  /** Dispatches many in as few round trips as the store allows; answers line up. Nothing is dispatched when one item is malformed. */
  dispatchMany(items: readonly Item<Tasks>[]): Promise<Dispatched[]> {
    return this.#backend.dispatchMany(items as unknown as readonly AnyItem[])
  }

  /**
   * Sends a request over HTTP, durably: a worker with httpRequest() among its tasks tries it until it succeeds, is given up or
   * expires. Equal requests share what is under way.
   */
  async request(options: RequestOptions): Promise<Dispatched<RequestResult>> {
    const { dispatchOf } = await import('./requests/request-spec.ts')
    const { params, options: rest } = dispatchOf(options, 'request()')
    return this.#backend.dispatch(HTTP_REQUEST, params, rest as DispatchOptions) as Promise<
      Dispatched<RequestResult>
    >
  }

  /** Dispatches and waits: the result, however it came about; or the error with which the run ended. */
  run<Name extends NameOf<Tasks>>(
    name: Name,
    params: InputOf<TaskNamed<Tasks, Name>>,
    ...[options]: OptionsOf<
      TaskNamed<Tasks, Name>,
      DispatchOptions<ResultOf<TaskNamed<Tasks, Name>>> & { wait?: WaitOptions['timeout'] }
    >
  ): Promise<ResultOf<TaskNamed<Tasks, Name>>> {
    return this.#backend.run(name, params, options as DispatchOptions | undefined) as Promise<never>
  }

  /** Where the run with this id stands; TASK_NOT_FOUND for one that is not (any more). */
  async getStatus<Result = unknown>(taskId: string): Promise<Receipt<Result>> {
    return receiptOf(await this.#find(taskId)) as Receipt<Result>
  }

  /** The result if it is there: NOT_FINISHED while it is not; TASK_FAILED or TASK_CANCELLED if it never will be. */
  async getResult<Result = unknown>(taskId: string): Promise<Result> {
    return resultOf(await this.#find(taskId)) as Result
  }

  /** Waits for the run to end; answers as `getResult` does. */
  async result<Result = unknown>(taskId: string, options?: WaitOptions): Promise<Result> {
    checkId(taskId)
    return resultOf(await this.#backend.wait(taskId, options)) as Result
  }

  /** Ends a run for all who wait for it. 'ended': too late; 'unknown': no such run. */
  async cancel(taskId: string, reason?: string): Promise<CancelAnswer> {
    checkId(taskId)
    const [answer] = await this.#backend.cancel([taskId], reason)
    return answer as CancelAnswer
  }

  /** A run that waits for a later moment, or for its next attempt, is due now. 'due', 'running', 'ended' or 'unknown'. */
  async hasten(taskId: string, { priority }: { priority?: number } = {}): Promise<PromoteAnswer> {
    checkId(taskId)
    if (priority !== undefined) checkPriority(priority, 'hasten(): priority')
    const [answer] = await this.#backend.promote([taskId], priority)
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
    if (isId(nameOrTaskId)) return this.#backend.invalidate({ taskId: nameOrTaskId })
    if (params !== undefined || options?.idempotencyKey !== undefined)
      return this.#backend.invalidate({ name: nameOrTaskId, params, options: options ?? {} })
    if (options !== undefined) throw scopeAlone(nameOrTaskId)
    return this.#backend.invalidate({ name: nameOrTaskId })
  }

  /** Dispatches a failed or cancelled run again, with the params and options it had. */
  async retry(taskId: string): Promise<Dispatched> {
    checkId(taskId)
    return this.#backend.retry(taskId)
  }

  /** Runs that match, a page at a time. */
  async list(filter: Filter = {}, cursor?: string): Promise<{ receipts: Receipt[]; cursor?: string }> {
    if (filter.limit !== undefined) checkWhole(filter.limit, 1, MAX_BATCH, 'list(): limit')
    const { runs, ...page } = await this.#backend.list(filter, cursor)
    return { receipts: runs.map(receiptOf), ...page }
  }

  /** Nothing of a queue, or of a task's name, is begun until it is resumed; what runs goes on, and dispatches are taken in as ever. */
  async pause(lanes: Lanes): Promise<void> {
    checkLanes(lanes, 'pause()')
    await this.#backend.pause(lanes, true)
  }

  async resume(lanes: Lanes): Promise<void> {
    checkLanes(lanes, 'resume()')
    await this.#backend.pause(lanes, false)
  }

  /** Pauses, and waits until nothing of it runs any more: before maintenance, say. WAIT_TIMEOUT leaves it paused. */
  async drain(lanes: Lanes, options: WaitOptions = {}): Promise<void> {
    checkLanes(lanes, 'drain()')
    await (await import('./dispatch/drain.ts')).drained(this.#backend, lanes, options)
  }

  /** A dispatch said word by word: publish(name).payload({…}).in('5m').when(…).commit(). */
  publish<Name extends NameOf<Tasks>>(
    name: Name,
  ): Publisher<InputOf<TaskNamed<Tasks, Name>>, ResultOf<TaskNamed<Tasks, Name>>> {
    return new Publisher(this.#backend, name)
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
      this.#backend,
      key,
      definition as ScheduleDefinition,
    )
  }

  /**
   * Many dispatches under one id: counted together, with callbacks for the whole. A member deduplicates as any dispatch does, and
   * one whose result is there counts at once.
   */
  async batch(items: readonly Item<Tasks>[], options?: BatchOptions): Promise<BatchStatus> {
    return (await import('./batch/index.ts')).batch(this.#backend, items as never, options)
  }

  async getBatch(batchId: string): Promise<BatchStatus> {
    checkId(batchId)
    return (await import('./batch/index.ts')).getBatch(this.#backend, batchId)
  }

  /** Waits until all members have ended: the result or the error of each, in their order. */
  async batchResults(batchId: string, options?: WaitOptions): Promise<MemberResult[]> {
    checkId(batchId)
    return (await import('./batch/index.ts')).batchResults(this.#backend, batchId, options)
  }

  /** Cancels the batch, and of its members those that it has created. */
  async cancelBatch(batchId: string, reason?: string): Promise<BatchStatus> {
    checkId(batchId)
    return (await import('./batch/index.ts')).cancelBatch(this.#backend, batchId, reason)
  }

  /** What waits and runs, by queue and name, and what has happened since the store began. */
  stats(): Promise<Counts> {
    return this.#backend.count()
  }

  /** For what is built on dispatches: the draft that one would send. */
  draft(name: string, params: unknown, options?: DispatchOptions): Promise<Draft> {
    return this.#backend.draft(name, params, options)
  }

  /** For workers: the engine's hints, also across a reconnect. Answers a function that stops listening. */
  listen(hear: (hint: Hint) => void): () => void {
    return this.#backend.listen(hear)
  }

  /** Fails what is waited for with CLOSED, gives callbacks under way a moment to end, and lets go of the store. */
  close(): Promise<void> {
    this.#closing ??= this.#backend.close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #find(taskId: string): Promise<Seen> {
    checkId(taskId)
    return this.#backend.find(taskId)
  }
}
