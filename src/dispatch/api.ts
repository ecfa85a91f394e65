// The part of DeferQ that workers and bridges are built on.

import type { Logger } from '../base/log.ts'
import type { Draft, Engine, Hint } from '../contract/engine.ts'
import type { DispatchOptions } from '../tasks/options.ts'
import type { AnyTask, Dispatched, Receipt, SharedOptions } from '../tasks/task.ts'
import type { Limits } from '../values/limits.ts'

/** One item of `dispatchMany`, of any task. */
export interface AnyItem {
  name: string
  params: unknown
  options?: DispatchOptions
}

/** DeferQ as its own features see it. Task names and params are typed where the user writes them. */
export interface Dispatching {
  readonly tasks: ReadonlyMap<string, AnyTask> | undefined
  readonly defaults: Readonly<SharedOptions>
  readonly limits: Partial<Limits> | undefined
  readonly logger: Logger
  open(): Promise<Engine>
  listen(hear: (hint: Hint) => void): () => void
  draft(name: string, params: unknown, options?: DispatchOptions): Promise<Draft>
  dispatch(name: string, params: unknown, options?: DispatchOptions): Promise<Dispatched>
  getStatus(taskId: string): Promise<Receipt>
}
