// What a task is: its definition, the context its handler gets, and the receipt that a caller gets.

import { DeferqError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Backoff, Duration } from '../base/time.ts'
import type { AdmitOutcome, Status } from '../contract/engine.ts'
import { checkName, checkOptions, isOwn } from './check-options.ts'

/** Any validator that follows the Standard Schema interface (zod, valibot, arktype, …). */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

export interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** What may be set for all tasks, for a task, and for one dispatch; the nearest wins. */
export interface SharedOptions {
  /** How long a result answers new dispatches as fresh (1 hour); 0: only what is in flight is shared. */
  resultTtl?: Duration
  /** How much longer it answers them while a refresh runs behind it (0). */
  staleTtl?: Duration
  /** How long a failure answers new dispatches instead of a new attempt (0). */
  failureTtl?: Duration
  /** How long an ended run can still be read by its id, at least (1 hour; never less than 10 s, for those who wait). */
  retention?: Duration
  /** -100 to 100, higher first (0). */
  priority?: number
  /** ('default') */
  queue?: string
  /** Attempts after the first one, crashes of the worker included (2). */
  retries?: number
  /** The wait before each of them (1 s, doubled each time up to 5 min, half of it random). */
  backoff?: Backoff
  /** How long one attempt may take (the worker's `taskTimeout`, 300 s). */
  timeout?: Duration
  /** How long after the dispatch a run becomes due (0). */
  delay?: Duration
  /** What becomes of callers whose params differ under one key ('join'). */
  onMismatch?: 'join' | 'reject'
  /**
   * Put off by each dispatch of the key, until `wait` after the last or `maxWait` after the first; the last params win, and all
   * get that run's result. What comes while it runs begins a new burst.
   */
  debounce?: { wait: Duration; maxWait?: Duration }
  /** At most one run of a key begins within this time; until then all get its result, or its failure. */
  throttle?: { every: Duration }
  /**
   * What a dispatch does to a run that is pending or running already (joins it). `reject`: fails with DUPLICATE. `replace`: the run
   * takes over the newer params and due time. `supersede`: cancels it and takes its place; those who waited learn of it by TASK_CANCELLED.
   * `rerunAfter`: one more run follows it, and whoever asked meanwhile gets that one's result.
   */
  onDuplicate?: {
    pending?: 'join' | 'reject' | 'replace' | 'supersede'
    running?: 'join' | 'reject' | 'supersede' | 'rerunAfter'
  }
  /**
   * What becomes of a run that nobody waits for or asks after any more ('keep'): cancelled while it is pending, or also while it
   * runs; after a grace time (10 s) without a dispatch, a wait or a look at its status.
   */
  onAbandoned?: Abandonment | { then: Abandonment; grace?: Duration }
}

export type Abandonment = 'keep' | 'cancelPending' | 'cancel'

export interface TaskOptions<Params> extends SharedOptions {
  /** What stands in for the params in the key. */
  key?: (params: Params) => unknown
  /** Properties of the params that the key leaves out; dots lead inwards. */
  ignore?: readonly string[]
  /** Each dispatch must name a scope (a tenant, say), within which it deduplicates. */
  scope?: true
  /** At most `max` attempts begin within any stretch of `per`, across all workers; each `by` of the params has a share of its own. */
  rateLimit?: { max: number; per: Duration; by?: string | ((params: Params) => string | number) }
  /** At most `limit` run at a time, across all workers; each `by` of the params has a share of its own, and they take turns. */
  concurrency?: { limit: number; by?: string | ((params: Params) => string | number) }
  /** What rules may look at beside the params, at `facts.…`: asked for just before a run that has rules. */
  facts?: (params: Params) => unknown
  /** Changes the key: results of older code are not served by newer code. */
  version?: string | number
}

export interface Task<
  Name extends string = string,
  Params = unknown,
  Result = unknown,
  Input = Params,
  Scoped extends boolean = boolean,
> {
  readonly name: Name
  readonly options: TaskOptions<Params>
  readonly schema: StandardSchema<Input, Params> | undefined
  readonly run: ((params: Params, context: Context) => Result | Promise<Result>) | undefined
  /** For the types alone. */
  readonly '~types'?: { input: Input; result: Result; scoped: Scoped }
}

// biome-ignore lint/suspicious/noExplicitAny: a list of tasks holds all kinds; each is typed where it is used
export type AnyTask = Task<string, any, any, any, boolean>

type Handler<Params, Result> = (params: Params, context: Context) => Result | Promise<Result>

/** Defines a task. Its params and result are typed from `run`, or its params from `schema`. */
export function task<
  const Name extends string,
  Input,
  Params,
  Result,
  Scope extends true | undefined = undefined,
>(
  name: Name,
  definition: Omit<TaskOptions<Params>, 'scope'> & {
    scope?: Scope
    schema: StandardSchema<Input, Params>
    run?: Handler<Params, Result>
  },
): Task<Name, Params, Result, Input, Scope extends true ? true : false>
export function task<const Name extends string, Params, Result, Scope extends true | undefined = undefined>(
  name: Name,
  definition: Omit<TaskOptions<Params>, 'scope'> & {
    scope?: Scope
    schema?: undefined
    run?: Handler<Params, Result>
  },
): Task<Name, Params, Result, Params, Scope extends true ? true : false>
export function task(
  name: string,
  definition: TaskOptions<unknown> & { schema?: StandardSchema; run?: Handler<unknown, unknown> },
): AnyTask {
  checkName(name, 'The name of a task')
  if (isOwn(name)) {
    throw new DeferqError('INVALID_OPTION', `task('${name}'): this name is one of deferq's own.`)
  }
  if (typeof definition !== 'object' || definition === null) {
    throw new DeferqError(
      'INVALID_OPTION',
      `task('${name}'): give an object with at least { run } or { schema }.`,
    )
  }
  const { schema, run, ...options } = definition
  checkOptions(options, `task('${name}')`)
  if (run !== undefined && typeof run !== 'function') {
    throw new DeferqError('INVALID_OPTION', `task('${name}'): run must be a function, and is ${typeof run}.`)
  }
  if (schema !== undefined && typeof schema?.['~standard']?.validate !== 'function') {
    throw new DeferqError(
      'INVALID_OPTION',
      `task('${name}'): schema must be a Standard Schema (zod, valibot, arktype, …): an object with '~standard'.`,
    )
  }
  return { name, options, schema, run }
}

/** What a dispatch says about itself, beside the params: who asked, for what, in which version. */
export type Meta = Readonly<Record<string, unknown>>

/** What a handler gets beside its params. */
export interface Context {
  readonly id: string
  readonly name: string
  /** 1 for the first. */
  readonly attempt: number
  /** How many attempts there are, this one and crashes of the worker included. */
  readonly maxAttempts: number
  /** When it was dispatched, and when this attempt was claimed; both by the store's clock. */
  readonly createdAt: Date
  readonly startedAt: Date
  /** What the failed attempts before this one left, oldest first: the newest ten. */
  readonly history: readonly Failure[]
  /** Aborts when the attempt has timed out, was cancelled, lost its lease, or the worker gives up. */
  readonly signal: AbortSignal
  readonly log: Logger
  /** What the dispatch, or the message that led to it, was traced by. */
  readonly traceId: string | undefined
  /** What the dispatch said about itself. */
  readonly meta: Meta | undefined
  /** Of a schedule: which one, and when this occurrence was to be, however late it is. */
  readonly occurrence: { readonly schedule: string; readonly at: Date } | undefined
  /** In a callback: the run that it follows. */
  readonly parent: Ended | undefined
  /** Seen by everybody who asks for the status; sent with the next heartbeat, or at once when the last one is older than a second. */
  readonly progress: (value: unknown) => void
  /** Renews the lease now; rejects when it is lost. Long loops that block the event loop need it. */
  readonly touch: () => Promise<void>
}

/** How a run ended, as a callback is told. */
export type Ended<Result = unknown> = { readonly id: string; readonly name: string } & (
  | { readonly status: 'completed'; readonly result: Result; readonly error?: undefined }
  | { readonly status: 'failed' | 'cancelled'; readonly result?: undefined; readonly error: Error }
)

interface Fields {
  /** Ask for the status by it; it finds this very run, also once it has been superseded. */
  readonly taskId: string
  /** The key that name and params stand under: equal for equal work. */
  readonly fingerprint: string
  readonly name: string
  readonly attempt: number
  readonly priority: number
  readonly queue: string
  /** By the store's clock. */
  readonly createdAt: Date
  readonly dueAt: Date
  readonly startedAt?: Date
  readonly finishedAt?: Date
  readonly freshUntil?: Date
  readonly progress?: unknown
  /** Where the whole run was read: by its id, or in a list. */
  readonly traceId?: string
  /** What the dispatch said about itself, where the whole run was read. */
  readonly meta?: Meta
  /** What the failed attempts left, oldest first. */
  readonly history: readonly Failure[]
}

export interface Failure {
  readonly attempt: number
  readonly at: Date
  readonly error: Error
}

/** Where a run stands. */
export type Receipt<Result = unknown> = Fields &
  (
    | { readonly status: 'completed'; readonly result: Result; readonly error?: undefined }
    | { readonly status: 'failed' | 'cancelled'; readonly result?: undefined; readonly error: DeferqError }
    | { readonly status: 'pending' | 'running'; readonly result?: undefined; readonly error?: undefined }
  )

/** What a dispatch came to, and where the run that answers it stands. */
export type Dispatched<Result = unknown> = Receipt<Result> & {
  readonly outcome: Exclude<AdmitOutcome, 'rejected'>
  /** False when `onMismatch: 'join'` let a caller with other params share this key. */
  readonly sameParams: boolean
  /** With 'stale': the run that refreshes the result. */
  readonly refreshId?: string
}

export type { Status }

const NO_RETRY = Symbol.for('deferq.no-retry')
const RETRY_AT = Symbol.for('deferq.retry-at')

/** Thrown by a handler: trying again would not help. */
export class NoRetryError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'NoRetryError'
    Object.defineProperty(this, NO_RETRY, { value: true })
  }
}

/** Thrown by a handler: try again after this long, or at this moment, instead of after the back-off. */
export class RetryAtError extends Error {
  readonly at: Duration | Date

  constructor(at: Duration | Date, message = 'To be tried again later', options?: ErrorOptions) {
    super(message, options)
    this.name = 'RetryAtError'
    this.at = at
    Object.defineProperty(this, RETRY_AT, { value: true })
  }
}

/** The same said by another error, which keeps its name, code and details. */
export function withoutRetry<E extends Error>(error: E): E {
  return Object.defineProperty(error, NO_RETRY, { value: true })
}

export function withRetryAt<E extends Error>(error: E, at: Duration | Date): E {
  return Object.defineProperties(error, { at: { value: at }, [RETRY_AT]: { value: true } })
}

export const isNoRetry = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && NO_RETRY in error
export const isRetryAt = (error: unknown): error is Error & Pick<RetryAtError, 'at'> =>
  typeof error === 'object' && error !== null && RETRY_AT in error
