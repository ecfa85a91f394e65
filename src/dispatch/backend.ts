// The place where the runs of a DeferQ lie, as its methods and features see it: a store, or the HTTP interface of another application.

import type { Logger } from '../base/log.ts'
import type {
  CancelAnswer,
  Counts,
  Draft,
  Engine,
  Filter,
  Hint,
  Lanes,
  PromoteAnswer,
  Standing,
} from '../contract/engine.ts'
import type { DispatchOptions, WaitOptions } from '../tasks/options.ts'
import type { AnyTask, Dispatched, SharedOptions } from '../tasks/task.ts'
import type { Limits } from '../values/limits.ts'
import type { AnyItem } from './api.ts'

/** A run as a backend shows it. Over HTTP `params` are there for batches only. */
export interface Seen extends Standing {
  extra?: string
  params?: string
}

export interface SeenPage {
  runs: Seen[]
  cursor?: string
}

export type RunOptions = DispatchOptions & { wait?: WaitOptions['timeout'] }

/** The results that `invalidate` forgets: under the key of an id, all of a name, or those of some params. */
export type Forgotten =
  | { taskId: string }
  | { name: string }
  | { name: string; params: unknown; options: Pick<DispatchOptions, 'scope' | 'idempotencyKey'> }

/** The options of a DeferQ that its backend and its features share. */
export interface Surroundings {
  readonly tasks: ReadonlyMap<string, AnyTask> | undefined
  readonly defaults: Readonly<SharedOptions>
  readonly limits: Partial<Limits> | undefined
  readonly logger: Logger
}

export interface Backend extends Surroundings {
  /** Connects. Answers the store; over HTTP an engine that refuses every verb. */
  open(): Promise<Engine>
  /** Passes on the store's hints until the answer is called. Over HTTP there are none. */
  listen(hear: (hint: Hint) => void): () => void
  close(): Promise<void>

  /** Checks a dispatch and makes its draft, without sending it. */
  draft(name: string, params: unknown, options?: DispatchOptions): Promise<Draft>
  dispatch(name: string, params: unknown, options?: DispatchOptions): Promise<Dispatched>
  /** Sends nothing when one item is malformed. */
  dispatchMany(items: readonly AnyItem[]): Promise<Dispatched[]>
  /** Dispatches, waits for the end and answers the result. */
  run(name: string, params: unknown, options?: RunOptions): Promise<unknown>
  /** Dispatches a failed or cancelled run again. */
  retry(id: string): Promise<Dispatched>

  /** Waits for the end of a run. */
  wait(id: string, options?: WaitOptions): Promise<Standing>
  /** One run; TASK_NOT_FOUND where there is none. Calls of one tick share a round trip. */
  find(id: string): Promise<Seen>
  /** Runs by id, at most MAX_BATCH; by a key, the run that stands there. */
  read(ids: readonly string[]): Promise<(Seen | undefined)[]>
  list(filter: Filter, cursor?: string): Promise<SeenPage>
  count(): Promise<Counts>

  cancel(ids: readonly string[], reason?: string): Promise<CancelAnswer[]>
  promote(ids: readonly string[], priority?: number): Promise<PromoteAnswer[]>
  /** Answers how many keys changed. */
  invalidate(forgotten: Forgotten): Promise<number>
  pause(lanes: Lanes, paused: boolean): Promise<void>
}
