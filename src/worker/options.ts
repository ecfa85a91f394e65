// What a worker may be told, with its defaults.

import { DeferqError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Duration } from '../base/time.ts'
import { durationMs } from '../base/time.ts'
import type { Limit } from '../contract/engine.ts'
import { checkName, checkWhole } from '../tasks/check-options.ts'
import { limitOf } from '../tasks/duplicates.ts'
import type { AnyTask } from '../tasks/task.ts'

export interface WorkerOptions {
  /** Tasks at a time (10). */
  concurrency?: number
  /** Queues to take from (all). */
  queues?: readonly string[]
  /** Task names to take (all that have a handler). */
  names?: readonly string[]
  /** How long to sleep between looks for work when there is none and no hint comes (1 s). */
  sleep?: Duration
  /** Ends the worker after this many tasks (0: never). */
  maxJobs?: number
  /** Ends it, between tasks, once heap and buffers take more than this many megabytes (0: never; `deferq-worker`: 128). */
  maxMemory?: number
  /** Ends it after this long (0: never). */
  maxRuntime?: Duration
  /** Ends it once there is nothing to do. */
  stopWhenEmpty?: boolean
  /** How long one attempt may take, unless the task or the dispatch says otherwise (300 s). */
  taskTimeout?: Duration
  /** After how long without a heartbeat a task counts as abandoned and goes to another worker (30 s). */
  lease?: Duration
  /** How often to look for tasks that were abandoned, and for what has expired (a sixth of the lease, 5 s at most). */
  sweep?: Duration
  /** How long running tasks may go on after `stop()` before they are released (30 s). */
  grace?: Duration
  /** Also tick schedules and look after batches, whatever its queues and names (true). */
  upkeep?: boolean
  /** Anything shaped like pino (deferq's own). */
  logger?: Logger
}

export interface Settings {
  concurrency: number
  queues: readonly string[] | undefined
  names: readonly string[] | undefined
  sleepMs: number
  maxJobs: number
  maxMemoryMb: number
  maxRuntimeMs: number
  stopWhenEmpty: boolean
  taskTimeoutMs: number
  leaseMs: number
  sweepMs: number
  graceMs: number
  upkeep: boolean
}

const KNOWN = new Set([
  'concurrency',
  'queues',
  'names',
  'sleep',
  'maxJobs',
  'maxMemory',
  'maxRuntime',
  'stopWhenEmpty',
  'taskTimeout',
  'lease',
  'sweep',
  'grace',
  'upkeep',
  'logger',
])

export function settingsOf(options: WorkerOptions): Settings {
  const at = 'new Worker()'
  for (const option of Object.keys(options)) {
    if (KNOWN.has(option)) continue
    throw new DeferqError(
      'INVALID_OPTION',
      `${at}: there is no option '${option}'. Known: ${[...KNOWN].join(', ')}.`,
    )
  }
  const {
    concurrency = 10,
    maxJobs = 0,
    maxMemory = 0,
    queues,
    names,
    stopWhenEmpty = false,
    upkeep = true,
  } = options
  checkWhole(concurrency, 1, 1_000, `${at}: concurrency`)
  checkWhole(maxJobs, 0, Number.MAX_SAFE_INTEGER, `${at}: maxJobs`)
  if (typeof upkeep !== 'boolean')
    throw new DeferqError('INVALID_OPTION', `${at}: upkeep must be true or false.`)
  if (!(maxMemory >= 0))
    throw new DeferqError('INVALID_OPTION', `${at}: maxMemory must be a number of megabytes, 0 for no limit.`)
  for (const [what, list] of [
    ['queues', queues],
    ['names', names],
  ] as const) {
    if (list === undefined) continue
    if (!Array.isArray(list) || list.length === 0) {
      throw new DeferqError(
        'INVALID_OPTION',
        `${at}: ${what} must be a list with at least one entry; leave it out for all.`,
      )
    }
    for (const each of list) checkName(each, `${at}: each of ${what}`)
  }
  const leaseMs = durationMs(options.lease ?? '30s', `${at}: lease`)
  if (leaseMs < 100)
    throw new DeferqError(
      'INVALID_OPTION',
      `${at}: lease must be at least 100 ms: heartbeats come at a third of it.`,
    )
  return {
    concurrency,
    queues,
    names,
    sleepMs: Math.max(1, durationMs(options.sleep ?? '1s', `${at}: sleep`)),
    maxJobs,
    maxMemoryMb: maxMemory,
    maxRuntimeMs: durationMs(options.maxRuntime ?? 0, `${at}: maxRuntime`),
    stopWhenEmpty,
    taskTimeoutMs: Math.max(1, durationMs(options.taskTimeout ?? '300s', `${at}: taskTimeout`)),
    leaseMs,
    sweepMs: Math.max(
      10,
      options.sweep === undefined ? Math.min(5_000, leaseMs / 6) : durationMs(options.sweep, `${at}: sweep`),
    ),
    graceMs: durationMs(options.grace ?? '30s', `${at}: grace`),
    upkeep,
  }
}

/** The tasks that a worker runs. */
export function handlersOf(
  tasks: ReadonlyMap<string, AnyTask> | undefined,
  names: readonly string[] | undefined,
): ReadonlyMap<string, AnyTask> {
  if (tasks === undefined) {
    throw new DeferqError(
      'INVALID_OPTION',
      'new Worker(): this deferq has no tasks. Give them to new DeferQ({ tasks: […] }).',
    )
  }
  const handlers = new Map<string, AnyTask>()
  for (const [name, task] of tasks) {
    if (task.run !== undefined && (names === undefined || names.includes(name))) handlers.set(name, task)
  }
  for (const name of names ?? []) {
    if (handlers.has(name)) continue
    throw new DeferqError(
      'UNKNOWN_TASK',
      `new Worker(): names has '${name}', which has no handler here. Known: ${[...tasks.keys()].join(', ') || 'none'}.`,
    )
  }
  if (handlers.size === 0) {
    throw new DeferqError(
      'INVALID_OPTION',
      'new Worker(): none of the tasks has a handler. Give at least one a run function.',
    )
  }
  return handlers
}

/** What the store is to keep to, by name; undefined where no task has a limit. */
export function limitsOf(tasks: ReadonlyMap<string, AnyTask>): Record<string, Limit> | undefined {
  const limits: Record<string, Limit> = {}
  for (const [name, { options }] of tasks) {
    const limit = limitOf(options)
    if (limit !== undefined) limits[name] = limit
  }
  return Object.keys(limits).length === 0 ? undefined : limits
}
