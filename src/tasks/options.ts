// What may be said with one dispatch, and the types that lead from a list of tasks to params and results.

import { DeferqError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Duration } from '../base/time.ts'
import { durationMs } from '../base/time.ts'
import type { Engine } from '../contract/engine.ts'
import type { KeyvLike } from '../drivers/keyv.ts'
import type { Rules } from '../rules/index.ts'
import type { Limits } from '../values/limits.ts'
import { checkKnown, checkSignal, checkWhole } from './check-options.ts'
import type { WebhookCallback } from './request-params.ts'
import type { AnyTask, Meta, Receipt, SharedOptions, Task } from './task.ts'

/**
 * Told when the run has ended: by name, a task that workers run (durable, with params of its own, and the ended run as
 * `context.parent`); by URL, a webhook that they post (durable as well); or a function in this process. `on` is 'success'
 * unless given, and 'both' for a URL.
 */
export type Callback<Result = unknown> =
  | string
  | NamedCallback
  | WebhookCallback
  | CallbackFunction<Result>
  | { run: CallbackFunction<Result>; on?: 'success' | 'failure' | 'both' }

/** The task that sends requests and webhooks; httpRequest() of deferq/requests makes it. */
export const HTTP_REQUEST = 'http.request'

export interface NamedCallback {
  name: string
  params?: unknown
  on?: 'success' | 'failure' | 'both'
}

/** A callback by name, with what its own run is told. */
export interface Link extends NamedCallback {
  options?: Pick<SharedOptions, 'retries' | 'backoff' | 'timeout'>
}

export type CallbackFunction<Result = unknown> = (receipt: Receipt<Result>) => unknown

export const isWebhook = (callback: Callback): callback is string | WebhookCallback =>
  typeof callback === 'string'
    ? /^https?:\/\//i.test(callback)
    : typeof callback === 'object' && callback !== null && 'url' in callback

export const isNamed = (callback: Callback): callback is string | NamedCallback =>
  (typeof callback === 'string' ||
    (typeof callback === 'object' && callback !== null && 'name' in callback)) &&
  !isWebhook(callback)

export const isOn = (on: unknown): on is 'success' | 'failure' | 'both' | undefined =>
  on === undefined || on === 'success' || on === 'failure' || on === 'both'

export interface DispatchOptions<Result = unknown> extends SharedOptions {
  /** Due at this moment instead of after `delay`; what is past is due now. */
  runAt?: Date | number | string
  /** Run anew, although a result is fresh; what is in flight is still shared. */
  refresh?: boolean
  /** The key outright: whatever the params, an equal text is equal work. */
  idempotencyKey?: string
  /** Deduplicate within this scope (a tenant, say). */
  scope?: string | number
  /** Goes with the run, into its log lines and to all that follows from it (that of the handler in which this is called). */
  traceId?: string
  /** Several are a chain: each is called when the one before it is through. */
  callback?: Callback<Result> | readonly Callback<Result>[]
  /**
   * Dispatch within a transaction of your own, on the PostgreSQL database where the store lies: there when it commits, and
   * never was when it is rolled back. A client of the package pg, or anything else that has `query(text, values)`.
   */
  tx?: unknown
  /** Asked once more just before it runs, against params, meta and the task's `facts`: what no longer holds cancels it with RULE_FAILED. */
  rules?: Rules
  /** Goes with the run: `context.meta` in the handler, and in receipts that are asked for. No part of the key. */
  meta?: Meta
  /** Ends the dispatch or the wait for it, never the run: others may have asked for it. */
  signal?: AbortSignal
}

export interface NearCacheOptions {
  /** Results kept at the most; the oldest make room (10,000). */
  entries?: number
}

export interface ResultsOptions {
  /** A Keyv. deferq closes it with the last engine that uses it. */
  store: KeyvLike
  /** Results whose text is larger go there: bytes, or text with a unit ('64kb'). */
  above?: number | string
}

export interface WaitOptions {
  /** How long to wait (no limit). */
  timeout?: Duration
  signal?: AbortSignal
}

export type NameOf<Tasks extends readonly AnyTask[]> = Tasks[number]['name']
/** Without a list of tasks any name is allowed, and nothing is known of its params and result. */
export type TaskNamed<Tasks extends readonly AnyTask[], Name> =
  string extends NameOf<Tasks> ? Tasks[number] : Extract<Tasks[number], { name: Name }>
export type InputOf<T> = T extends Task<string, infer _P, infer _R, infer Input, infer _S> ? Input : never
export type ResultOf<T> = T extends Task<string, infer _P, infer Result, infer _I, infer _S> ? Result : never
type ScopedOf<T> = T extends Task<string, infer _P, infer _R, infer _I, infer Scoped> ? Scoped : never

/** The options, required where the task declares a scope. */
export type OptionsOf<T, Base> = [ScopedOf<T>] extends [true]
  ? [options: Base & { scope: string | number }]
  : [options?: Base]

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

export const OPTIONS_OF_DEFERQ = [
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

/** A bound that is no number would be no bound. */
export function checkLimits(limits: object | undefined): void {
  if (limits === undefined) return
  checkKnown(limits, ['depth', 'nodes', 'bytes'], 'new DeferQ(): limits')
  for (const [limit, value] of Object.entries(limits)) {
    if (value !== undefined) checkWhole(value, 1, Number.MAX_SAFE_INTEGER, `new DeferQ(): limits.${limit}`)
  }
}

export function checkLogger(logger: Logger, where: string): void {
  for (const level of ['debug', 'info', 'warn', 'error'] as const) {
    if (typeof logger?.[level] === 'function') continue
    throw new DeferqError(
      'INVALID_OPTION',
      `${where}: logger must be shaped like pino, and lacks ${level}().`,
    )
  }
}

/** Before anything is sent; answers the time-out in milliseconds. */
export function checkWait(
  { timeout, signal }: WaitOptions,
  where: string,
  option = 'timeout',
): number | undefined {
  if (signal !== undefined) checkSignal(signal, `${where}: signal`)
  return timeout === undefined ? undefined : durationMs(timeout, `${where}: ${option}`)
}
