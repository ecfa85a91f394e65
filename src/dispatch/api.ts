// The part of DeferQ that batches, schedules, publications and workers are built on.
import type { Logger } from '../base/log.ts'
import type { CancelAnswer, Draft, Engine, Hint } from '../contract/engine.ts'
import type { DispatchOptions, WaitOptions } from '../tasks/options.ts'
import type { AnyTask, Dispatched, Receipt, SharedOptions } from '../tasks/task.ts'
import type { Limits } from '../values/limits.ts'

/** One item of `dispatchMany`, whatever its task is. */
export interface AnyItem {
  name: string
  params: unknown
  options?: DispatchOptions
}

/** DeferQ as its own features see it: task names and params are not typed here, but where the user writes them. */
export interface Dispatching {
  readonly tasks: ReadonlyMap<string, AnyTask> | undefined
  readonly defaults: Readonly<SharedOptions>
  readonly limits: Partial<Limits> | undefined
  readonly logger: Logger
  open(): Promise<Engine>
  listen(hear: (hint: Hint) => void): () => void
  draft(name: string, params: unknown, options?: DispatchOptions): Promise<Draft>
  dispatch(name: string, params: unknown, options?: DispatchOptions): Promise<Dispatched>
  dispatchMany(items: readonly AnyItem[]): Promise<Dispatched[]>
  result<Result = unknown>(taskId: string, options?: WaitOptions): Promise<Result>
  getStatus(taskId: string): Promise<Receipt>
  cancel(taskId: string, reason?: string): Promise<CancelAnswer>
}
