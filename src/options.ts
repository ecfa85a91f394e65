// What may be said with one dispatch, and the types that lead from a list of tasks to params and results.
import type { AnyTask, Receipt, SharedOptions, Task } from './task.ts'
import type { Duration } from './time.ts'

/**
 * Told when the run has ended: by name, a task that workers run (durable, with params of its own, and the ended run as
 * `context.parent`); or a function in this process. `on` is 'success' unless given.
 */
export type Callback<Result = unknown> =
  | string
  | NamedCallback
  | CallbackFunction<Result>
  | { run: CallbackFunction<Result>; on?: 'success' | 'failure' | 'both' }

export interface NamedCallback {
  name: string
  params?: unknown
  on?: 'success' | 'failure' | 'both'
}

export type CallbackFunction<Result = unknown> = (receipt: Receipt<Result>) => unknown

export const isNamed = (callback: Callback): callback is string | NamedCallback =>
  typeof callback === 'string' || (typeof callback === 'object' && callback !== null && 'name' in callback)

export interface DispatchOptions<Result = unknown> extends SharedOptions {
  /** Due at this moment instead of after `delay`; what is past is due now. */
  runAt?: Date | number | string
  /** Run anew, although a result is fresh; what is in flight is still shared. */
  refresh?: boolean
  /** The key outright: whatever the params, an equal text is equal work. */
  idempotencyKey?: string
  /** Deduplicate within this scope (a tenant, say). */
  scope?: string | number
  /** Several are a chain: each is called when the one before it is through. */
  callback?: Callback<Result> | readonly Callback<Result>[]
  /** Ends the dispatch or the wait for it, never the run: others may have asked for it. */
  signal?: AbortSignal
}

export interface WaitOptions {
  /** How long to wait (no limit). */
  timeout?: Duration
  signal?: AbortSignal
}

export type NameOf<Tasks extends readonly AnyTask[]> = Tasks[number]['name']
export type TaskNamed<Tasks extends readonly AnyTask[], Name> = Extract<Tasks[number], { name: Name }>
export type InputOf<T> = T extends Task<string, infer _P, infer _R, infer Input, infer _S> ? Input : never
export type ResultOf<T> = T extends Task<string, infer _P, infer Result, infer _I, infer _S> ? Result : never
type ScopedOf<T> = T extends Task<string, infer _P, infer _R, infer _I, infer Scoped> ? Scoped : never

/** The options, required where the task declares a scope. */
export type OptionsOf<T, Base> = [ScopedOf<T>] extends [true]
  ? [options: Base & { scope: string | number }]
  : [options?: Base]
