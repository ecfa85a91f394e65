// What a bridge may be told, with its defaults; mistakes are refused when it is made.

import { DeferqError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Backoff, Duration } from '../base/time.ts'
import { checkBackoff, DEFAULT_BACKOFF, durationMs } from '../base/time.ts'
import { MAX_BATCH } from '../contract/engine.ts'
import type { Dispatching } from '../dispatch/api.ts'
import { checkKnown, checkName, checkWhole } from '../tasks/check-options.ts'
import { checkLogger } from '../tasks/options.ts'
import type { AnyTask } from '../tasks/task.ts'
import type { BrokerOptions } from './broker.ts'
import type { Envelope } from './envelope.ts'

/** What becomes of a message whose URN has no handler. */
export const UNKNOWN_STRATEGIES = ['fail', 'delete', 'release', 'dead_letter'] as const
export type UnknownStrategy = (typeof UNKNOWN_STRATEGIES)[number]

export interface BridgeOptions extends BrokerOptions {
  /** Queues of the broker to take from; earlier ones first, as long as they hold something. */
  queues: readonly string[]
  /** Tasks by URN; what is not among them goes to the task that is called like the URN. */
  handlers?: Readonly<Record<string, string | AnyTask>>
  /** Asked for every URN that is not among the handlers. */
  resolve?: (
    urn: string,
    envelope: Envelope,
  ) => string | AnyTask | undefined | Promise<string | AnyTask | undefined>
  /** 'fail': a failed attempt, dead-lettered after the last; 'delete' it; 'release' it for others; 'dead_letter' at once ('fail'). */
  unknown?: UnknownStrategy
  /** What the task gets (the envelope's data). */
  params?: (envelope: Envelope) => unknown
  /** Attempts in all, those that the message has behind it included (the task's own). */
  maxAttempts?: number
  /** The wait before each next attempt, a list's last one repeated (the task's own). */
  backoff?: Exclude<Backoff, (...never: never) => unknown>
  /** How long a message's id is remembered, so that it runs once (24 h). */
  remember?: Duration
  /** How long a message is this bridge's own, between heartbeats (90 s). */
  visibility?: Duration
  /** How long one look for messages waits for the first (5 s). */
  wait?: Duration
  /** Messages in hand at a time (100). */
  prefetch?: number
  /** A message that came back this often because its consumer was gone is set aside as poison (10). */
  maxDeliveries?: number
  /** Ends the bridge after this many messages (0: never). */
  maxMessages?: number
  /** Ends it once the queues are empty. */
  stopWhenEmpty?: boolean
  /** How long what is in hand may take after `stop()` before it is given back (30 s). */
  grace?: Duration
  /** Tells bridges of different brokers on one store apart (the transport's name). */
  name?: string
  /** Anything shaped like pino (deferq's own). */
  logger?: Logger
}

export interface Settings {
  queues: readonly string[]
  handlers: ReadonlyMap<string, string>
  resolve: BridgeOptions['resolve']
  unknown: UnknownStrategy
  params: BridgeOptions['params']
  maxAttempts: number | undefined
  backoff: BridgeOptions['backoff']
  rememberMs: number
  visibilityMs: number
  waitMs: number
  prefetch: number
  maxDeliveries: number
  maxMessages: number
  stopWhenEmpty: boolean
  graceMs: number
}

const KNOWN = [
  'url',
  'transport',
  'queues',
  'handlers',
  'resolve',
  'unknown',
  'params',
  'maxAttempts',
  'backoff',
  'remember',
  'visibility',
  'wait',
  'prefetch',
  'maxDeliveries',
  'maxMessages',
  'stopWhenEmpty',
  'grace',
  'name',
  'logger',
]
const AT = 'new Bridge()'

export function settingsOf(deferq: Dispatching, options: BridgeOptions): Settings {
  checkKnown(options, KNOWN, AT)
  const { queues, handlers = {}, resolve, unknown = 'fail', params, backoff, logger, name } = options
  if (!Array.isArray(queues) || queues.length === 0)
    throw wrong('queues must be a list with at least one queue of the broker.')
  for (const queue of queues) checkName(queue, `${AT}: each of queues`)
  const twice = queues.find((queue, at) => queues.indexOf(queue) !== at)
  if (twice !== undefined) throw wrong(`queues names '${twice}' twice.`)
  if (!UNKNOWN_STRATEGIES.includes(unknown))
    throw wrong(`unknown is '${String(unknown)}': use ${UNKNOWN_STRATEGIES.join(', ')}.`)
  for (const [option, value] of Object.entries({ resolve, params })) {
    if (value !== undefined && typeof value !== 'function') throw wrong(`${option} must be a function.`)
  }
  if (backoff !== undefined) {
    if (typeof backoff === 'function')
      throw wrong(
        "backoff is a function, which can't travel with a task: give a list, or the task that backoff.",
      )
    checkBackoff(backoff, `${AT}: backoff`)
  }
  const whole = (
    option: 'maxAttempts' | 'prefetch' | 'maxDeliveries' | 'maxMessages',
    least: number,
    most: number,
    fallback: number,
  ): number => {
    const value = options[option] ?? fallback
    checkWhole(value, least, most, `${AT}: ${option}`)
    return value
  }
  const ms = (
    option: 'remember' | 'visibility' | 'wait' | 'grace',
    least: number,
    fallback: string,
  ): number => {
    const value = durationMs(options[option] ?? fallback, `${AT}: ${option}`)
    if (value < least) throw wrong(`${option} must be at least ${least} ms, and is ${value}.`)
    return value
  }
  if (name !== undefined) checkName(name, `${AT}: name`)
  if (logger !== undefined) checkLogger(logger, AT)
  return {
    queues: [...queues],
    handlers: namesOf(deferq, handlers, resolve !== undefined),
    resolve,
    unknown,
    params,
    maxAttempts: options.maxAttempts === undefined ? undefined : whole('maxAttempts', 1, 10_000, 3),
    backoff,
    rememberMs: ms('remember', 60_000, '24h'),
    visibilityMs: ms('visibility', 1_000, '90s'),
    waitMs: ms('wait', 1, '5s'),
    prefetch: whole('prefetch', 1, MAX_BATCH, 100),
    maxDeliveries: whole('maxDeliveries', 1, 1_000_000, 10),
    maxMessages: whole('maxMessages', 0, Number.MAX_SAFE_INTEGER, 0),
    stopWhenEmpty: options.stopWhenEmpty ?? false,
    graceMs: ms('grace', 0, '30s'),
  }
}

export const backoffOf = ({ backoff }: Settings): Backoff => backoff ?? DEFAULT_BACKOFF

function namesOf(
  { tasks }: Dispatching,
  handlers: NonNullable<BridgeOptions['handlers']>,
  resolves: boolean,
): ReadonlyMap<string, string> {
  if (typeof handlers !== 'object' || handlers === null)
    throw wrong("handlers must be an object of tasks by URN: { 'urn:babel:orders:created': 'order.import' }.")
  const entries = Object.entries(handlers)
  if (tasks === undefined && entries.length === 0 && !resolves)
    throw wrong('this deferq lists no tasks: say with handlers or resolve which one a message is for.')
  return new Map(
    entries.map(([urn, handler]) => {
      const at = `handlers['${urn}']`
      const name = nameOf(handler)
      if (urn === '' || name === undefined)
        throw wrong(`${at} must be a task or the name of one, and is ${String(handler)}.`)
      const task = tasks?.get(name)
      if (tasks !== undefined && task === undefined) {
        throw new DeferqError(
          'UNKNOWN_TASK',
          `${AT}: ${at} is '${name}', which is no task of this deferq. Known: ${[...tasks.keys()].join(', ') || 'none'}.`,
        )
      }
      if (task?.options.scope === true)
        throw wrong(`${at} is '${name}', which wants a scope with each dispatch; a message has none.`)
      return [urn, name]
    }),
  )
}

export function nameOf(handler: unknown): string | undefined {
  if (typeof handler === 'string' && handler !== '') return handler
  const { name, options } = (handler ?? {}) as { name?: unknown; options?: unknown }
  return typeof name === 'string' && typeof options === 'object' ? name : undefined
}

const wrong = (what: string): DeferqError => new DeferqError('INVALID_OPTION', `${AT}: ${what}`)
