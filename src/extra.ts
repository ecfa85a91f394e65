// What travels with a run beside its params: how it is to be run, and what was said of it when it was dispatched.
import { DeferqError } from './errors.ts'
import type { DispatchOptions } from './options.ts'
import type { Backoff } from './time.ts'
import { durationMs } from './time.ts'

/** Stored with the run only where it differs from the task's definition. */
export interface Extra {
  timeoutMs?: number
  backoff?: Exclude<Backoff, (...never: never) => unknown>
  traceId?: string
  /** Of which schedule it is an occurrence, and when that was to be; one that was asked for says no time. */
  occurrence?: { schedule: string; at?: number }
}

/** Undefined where there is nothing to say. */
export function extraOf(
  { timeout, backoff }: DispatchOptions,
  at: string,
  traceId: string | undefined,
): string | undefined {
  if ((timeout ?? backoff ?? traceId) === undefined) return undefined
  if (typeof backoff === 'function') {
    throw new DeferqError(
      'INVALID_OPTION',
      `${at}: backoff is a function, which can't travel with a dispatch. Give the task that backoff, or a list here.`,
    )
  }
  const extra: Extra = {}
  if (timeout !== undefined) extra.timeoutMs = durationMs(timeout, `${at}: timeout`)
  if (backoff !== undefined) extra.backoff = backoff as Exclude<typeof backoff, undefined>
  if (traceId !== undefined) extra.traceId = traceId
  return JSON.stringify(extra)
}

/** What `extraOf` wrote. */
export function readExtra(text: string | undefined): Extra {
  if (text === undefined) return {}
  try {
    return (JSON.parse(text) as Extra | null) ?? {}
  } catch (cause) {
    throw new DeferqError('MALFORMED_VALUE', 'The stored options of this run can’t be read.', { cause })
  }
}

/** Undefined as well where it can't be read: whoever runs the run says so. */
export function traceIdOf(extra: string | undefined): string | undefined {
  if (!extra?.includes('"traceId"')) return undefined
  try {
    return (JSON.parse(extra) as Extra).traceId
  } catch {
    return undefined
  }
}
