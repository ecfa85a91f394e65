// What the package exports.
export type { BatchOptions, BatchStatus, MemberResult } from './batch/index.ts'
export { DeferQ, type DeferQOptions, type Item } from './deferq.ts'
export type { Engine, Filter, Status } from './engine.ts'
export { DeferqError, type ErrorCode, isDeferqError } from './errors.ts'
export { fingerprint } from './fingerprint.ts'
export type { Callback, CallbackFunction, DispatchOptions, NamedCallback, WaitOptions } from './options.ts'
export type { ResultsOptions } from './results.ts'
export type { Schedule, ScheduleDefinition } from './schedule/index.ts'
export type { ScheduleOf } from './schedules.ts'
export {
  type Abandonment,
  type AnyTask,
  type Context,
  type Dispatched,
  type Ended,
  type Failure,
  type Logger,
  NoRetryError,
  type Receipt,
  RetryAtError,
  type SharedOptions,
  type StandardSchema,
  type Task,
  type TaskOptions,
  task,
} from './task.ts'
export type { Backoff, Duration, ExponentialBackoff } from './time.ts'
export { Worker, type WorkerOptions } from './worker/worker.ts'
