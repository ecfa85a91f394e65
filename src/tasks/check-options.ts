// What names, options and signals must look like; refused where they are written, with the place and what to do.

import { DeferqError } from '../base/errors.ts'
import { checkBackoff, durationMs } from '../base/time.ts'
import {
  checkConcurrency,
  checkDebounce,
  checkOnAbandoned,
  checkOnDuplicate,
  checkRateLimit,
  checkThrottle,
  checkTogether,
} from './check-duplicates.ts'

/** Names and queues end up in keys and lanes: short, and free of control characters. */
export function checkName(name: unknown, what: string): asserts name is string {
  if (
    typeof name !== 'string' ||
    name.length === 0 ||
    name.length > 200 ||
    /[\u0000-\u001f\u007f\ud800-\udfff]/u.test(name)
  ) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${what} must be text of 1 to 200 printable characters, and is ${JSON.stringify(name)?.slice(0, 60) ?? typeof name}.`,
    )
  }
}

const OWN: ReadonlySet<unknown> = new Set(['deferq.schedule', 'deferq.batch', 'deferq.request'])
/** The names of runs that workers and the HTTP interface look after by themselves. */
export const isOwn = (name: unknown): boolean => OWN.has(name)

export const SHARED_OPTIONS: ReadonlySet<string> = new Set([
  'resultTtl',
  'staleTtl',
  'failureTtl',
  'retention',
  'priority',
  'queue',
  'retries',
  'backoff',
  'timeout',
  'delay',
  'onMismatch',
  'debounce',
  'throttle',
  'onDuplicate',
  'onAbandoned',
])
/** As long as an idempotency key: it is stored with each run. */
export const MAX_TRACE_ID = 512
const OF_TASKS = new Set([
  ...SHARED_OPTIONS,
  'key',
  'ignore',
  'scope',
  'version',
  'rateLimit',
  'concurrency',
  'facts',
])

/** Refuses what is misspelt or malformed where it is written, not in a worker some days later. */
export function checkOptions(options: object, where: string, known: ReadonlySet<string> = OF_TASKS): void {
  if (typeof options !== 'object' || options === null) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where}: the options must be an object, and are ${String(options)}.`,
    )
  }
  for (const [option, value] of Object.entries(options)) {
    if (!known.has(option)) {
      throw new DeferqError(
        'INVALID_OPTION',
        `${where}: there is no option '${option}'. Known: ${[...known].sort().join(', ')}.`,
      )
    }
    if (value === undefined) continue
    const at = `${where}: ${option}`
    switch (option) {
      case 'resultTtl':
      case 'staleTtl':
      case 'failureTtl':
      case 'retention':
      case 'delay':
        durationMs(value, at)
        break
      case 'timeout':
        if (durationMs(value, at) === 0)
          throw new DeferqError('INVALID_OPTION', `${at} must be longer than 0.`)
        break
      case 'backoff':
        checkBackoff(value, at)
        break
      case 'priority':
        checkPriority(value, at)
        break
      case 'retries':
        checkWhole(value, 0, 10_000, at)
        break
      case 'queue':
        checkName(value, at)
        break
      case 'onMismatch':
        if (value !== 'join' && value !== 'reject') {
          throw new DeferqError('INVALID_OPTION', `${at} is '${String(value)}': use 'join' or 'reject'.`)
        }
        break
      case 'debounce':
        checkDebounce(value, at)
        break
      case 'throttle':
        checkThrottle(value, at)
        break
      case 'onDuplicate':
        checkOnDuplicate(value, at)
        break
      case 'onAbandoned':
        checkOnAbandoned(value, at)
        break
      case 'rateLimit':
        checkRateLimit(value, at)
        break
      case 'concurrency':
        checkConcurrency(value, at)
        break
      case 'facts':
      case 'key':
        if (typeof value !== 'function') throw unfit(at, 'a function of the params', value)
        break
      case 'ignore':
        // A lone text would be read letter by letter, and leave out what nobody meant.
        if (!Array.isArray(value) || !value.every((path) => typeof path === 'string' && path !== ''))
          throw unfit(at, "a list of property names, such as ['traceId']", value)
        break
      case 'scope':
        // A dispatch names its scope, and the drafter looks at that; a task only says that there is one.
        if (known === OF_TASKS && value !== true)
          throw unfit(at, 'true, and each dispatch names its scope', value)
        break
      case 'version':
        if (typeof value !== 'string' && !Number.isFinite(value)) throw unfit(at, 'text or a number', value)
        break
      case 'refresh':
        if (typeof value !== 'boolean') throw unfit(at, 'true or false', value)
        break
      case 'traceId':
        if (typeof value !== 'string' || value === '' || value.length > MAX_TRACE_ID)
          throw unfit(at, `text of 1 to ${MAX_TRACE_ID} characters`, value)
        break
      case 'meta':
        if (typeof value !== 'object' || value === null || Array.isArray(value))
          throw unfit(at, 'an object', value)
        break
      case 'signal':
        checkSignal(value, at)
    }
  }
  checkTogether(options as Record<string, unknown>, where)
}

function unfit(where: string, must: string, value: unknown): DeferqError {
  return new DeferqError('INVALID_OPTION', `${where} must be ${must}, and is ${String(value)}.`)
}

/** Not `instanceof`: a polyfill's or another realm's does as well. */
export function checkSignal(value: unknown, where: string): void {
  const { aborted, addEventListener } = (value ?? {}) as Partial<AbortSignal>
  if (typeof aborted !== 'boolean' || typeof addEventListener !== 'function')
    throw unfit(where, 'an AbortSignal', value)
}

export function checkPriority(value: unknown, where: string): asserts value is number {
  checkWhole(value, -100, 100, where)
}

export function checkWhole(
  value: unknown,
  least: number,
  most: number,
  where: string,
): asserts value is number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where} must be a whole number from ${least} to ${most}, and is ${String(value)}.`,
    )
  }
}

/** Refuses what no object of the expected kind is, and any option that is not among the known ones. */
export function checkKnown(options: unknown, known: readonly string[], where: string): void {
  if (typeof options !== 'object' || options === null) {
    throw new DeferqError('INVALID_OPTION', `${where} must be an object, and is ${String(options)}.`)
  }
  for (const option of Object.keys(options)) {
    if (known.includes(option)) continue
    throw new DeferqError(
      'INVALID_OPTION',
      `${where}: there is no option '${option}'. Known: ${known.join(', ')}.`,
    )
  }
}
