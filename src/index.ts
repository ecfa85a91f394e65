// What the package exports.

export { DeferqError, type ErrorCode, isDeferqError } from './base/errors.ts'
export type { Logger } from './base/log.ts'
export type { Backoff, Duration, ExponentialBackoff } from './base/time.ts'
export type { BatchOptions, BatchStatus, MemberResult } from './batch/index.ts'
export type { Engine, Filter, Status } from './contract/engine.ts'
export { DeferQ, type DeferQOptions, type Item } from './deferq.ts'
export type {
  Gate,
  Gated,
  Moment,
  MomentOf,
  Published,
  Publisher,
  QuickOptions,
} from './publish/publisher.ts'
export type { RequestOptions, RequestResult } from './requests/request-spec.ts'
export type { Rule, Rules } from './rules/index.ts'
export type { ScheduleDefinition } from './schedule/define.ts'
export type { ScheduleOf } from './schedule/facade.ts'
export type { Schedule } from './schedule/index.ts'
export type {
  Callback,
  CallbackFunction,
  DispatchOptions,
  NamedCallback,
  ResultsOptions,
  WaitOptions,
} from './tasks/options.ts'
export type { WebhookCallback } from './tasks/request-params.ts'
export {
  type Abandonment,
  type AnyTask,
  type Context,
  type Dispatched,
  type Ended,
  type Failure,
  type Meta,
  NoRetryError,
  type Receipt,
  RetryAtError,
  type SharedOptions,
  type StandardSchema,
  type Task,
  type TaskOptions,
  task,
} from './tasks/task.ts'
export { fingerprint } from './values/fingerprint.ts'
export { Worker, type WorkerOptions } from './worker/worker.ts'
