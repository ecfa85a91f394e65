// What debounce, throttle, onDuplicate, onAbandoned, rateLimit and concurrency mean in the contract's terms.

import { DeferqError } from '../base/errors.ts'
import { durationMs } from '../base/time.ts'
import type { Attended, Draft, Limit, OnDuplicate } from '../contract/engine.ts'
import { sha256 } from '../values/fingerprint.ts'
import type { SharedOptions, TaskOptions } from './task.ts'

/** What a draft says of those that come before and after it; the same for every plain dispatch of a task. */
export type Contention = Pick<Draft, 'onDuplicate' | 'maxDelayMs' | 'attended' | 'refresh'> & {
  delayMs?: number
}

const GRACE = '10s'
const GROUP_CHARS = 100

/** Undefined where nothing of it is asked for. */
export function contentionOf(options: SharedOptions): Contention | undefined {
  const { debounce, onDuplicate, onAbandoned } = options
  const contention: Contention = {}
  if (debounce !== undefined) {
    const wait = durationMs(debounce.wait, 'debounce.wait')
    contention.delayMs = wait
    if (debounce.maxWait !== undefined)
      contention.maxDelayMs = durationMs(debounce.maxWait, 'debounce.maxWait')
    // A result of earlier params is no answer to later ones.
    contention.refresh = true
    contention.onDuplicate = { pending: 'replace', running: 'rerunAfter' }
  } else if (onDuplicate !== undefined) {
    const { pending = 'join', running = 'join' } = onDuplicate
    const rules: OnDuplicate = {}
    if (pending !== 'join') rules.pending = pending
    if (running !== 'join') rules.running = running
    if (pending !== 'join' || running !== 'join') contention.onDuplicate = rules
  }
  const attended = attendedOf(onAbandoned)
  if (attended !== undefined) contention.attended = attended
  return Object.keys(contention).length === 0 ? undefined : contention
}

function attendedOf(onAbandoned: SharedOptions['onAbandoned']): Attended | undefined {
  const { then, grace = GRACE } =
    typeof onAbandoned === 'object' ? onAbandoned : { then: onAbandoned ?? 'keep' }
  return then === 'keep'
    ? undefined
    : { ms: durationMs(grace, 'onAbandoned.grace'), running: then === 'cancel' }
}

/** What workers ask a store to keep to; undefined where the task has no limit. */
export function limitOf({ rateLimit, concurrency }: TaskOptions<never>): Limit | undefined {
  if (rateLimit === undefined && concurrency === undefined) return undefined
  const limit: Limit = {}
  if (concurrency !== undefined) limit.running = concurrency.limit
  if (rateLimit !== undefined)
    limit.rate = { max: rateLimit.max, perMs: durationMs(rateLimit.per, 'rateLimit.per') }
  return limit
}

/** How to tell the group that a dispatch counts against; undefined where the task has no limit. */
export function groupingOf<Params>(
  name: string,
  { rateLimit, concurrency }: TaskOptions<Params>,
): ((params: Params) => string) | undefined {
  if (rateLimit === undefined && concurrency === undefined) return undefined
  const by = concurrency?.by ?? rateLimit?.by
  if (by === undefined) return () => ''
  const read = typeof by === 'function' ? by : (params: Params) => propertyOf(params, by)
  return (params) => groupText(name, read(params))
}

/** In the shard of its group: what is limited together lies together. */
export function keyInGroup(key: string, name: string, group: string): string {
  return sha256(`${name}\0${group}`).slice(0, 8) + key.slice(8)
}

function propertyOf(params: unknown, path: string): unknown {
  let at = params
  for (const step of path.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, step)) return undefined
    at = (at as Record<string, unknown>)[step]
  }
  return at
}

/** Absent is a group of its own. Text that a store might stumble over stands there as its hash. */
function groupText(name: string, value: unknown): string {
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') {
    throw new DeferqError(
      'INVALID_PARAMS',
      `dispatch('${name}'): what its limits go by must be text or a number, and is ${Array.isArray(value) ? 'a list' : typeof value}.`,
    )
  }
  const text = String(value)
  const plain = text.length <= GROUP_CHARS && text.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(text)
  return plain ? text : sha256(text)
}
