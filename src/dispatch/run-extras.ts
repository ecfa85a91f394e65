// What travels with a run beside its params: how it is to be run, and what was said of it when it was dispatched.

import { DeferqError } from '../base/errors.ts'
import type { Backoff } from '../base/time.ts'
import { durationMs } from '../base/time.ts'
import type { Callback, DispatchOptions } from '../tasks/options.ts'
import type { Meta } from '../tasks/task.ts'
import { decode } from '../values/decode.ts'
import { Walk } from '../values/encode.ts'

const MAX_META = 16_384

/** Stored with the run only where it differs from the task's definition. */
export interface Extra {
  timeoutMs?: number
  backoff?: Exclude<Backoff, (...never: never) => unknown>
  traceId?: string
  /** The text of its rules, which are asked before it runs. */
  rules?: string
  /** The text of what its dispatch says about it, and its handler sees. */
  meta?: string
  /** Of which schedule it is an occurrence, and when that was to be; one that was asked for says no time. */
  occurrence?: { schedule: string; at?: number }
}

let rulesModule: typeof import('../rules/index.ts') | undefined

/** True if `loadRules` must come before `extraOf`: the dispatch, or one of its callbacks, has rules. */
export function lacksRules({ rules, callback }: DispatchOptions): boolean {
  if (rulesModule !== undefined) return false
  return rules !== undefined || ([callback ?? []].flat() as Callback[]).some(hasRules)
}

/** Loads the language of rules, which few programs use. */
export async function loadRules(): Promise<void> {
  rulesModule = await import('../rules/index.ts')
}

const hasRules = (callback: Callback): boolean =>
  (callback as { options?: { rules?: unknown } } | null)?.options?.rules !== undefined

/** Undefined where there is nothing to say. */
export function extraOf(
  { timeout, backoff, rules, meta }: DispatchOptions,
  at: string,
  traceId: string | undefined,
): string | undefined {
  const said = timeout !== undefined || backoff !== undefined || rules !== undefined || meta !== undefined
  if (!said && traceId === undefined) return undefined
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
  if (rules !== undefined)
    extra.rules = (rulesModule as typeof import('../rules/index.ts')).rulesText(rules, `${at}: rules`)
  if (meta !== undefined) extra.meta = new Walk('params', 'meta', { bytes: MAX_META }).encode(meta)
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

/** Undefined as well where it can't be read. */
export function metaOf(extra: string | undefined): Meta | undefined {
  const text = metaTextOf(extra)
  if (text === undefined) return undefined
  try {
    return decode(text) as Meta
  } catch {
    return undefined
  }
}

/** Undefined as well where it can't be read. */
export function metaTextOf(extra: string | undefined): string | undefined {
  if (!extra?.includes('"meta"')) return undefined
  try {
    return (JSON.parse(extra) as Extra).meta
  } catch {
    return undefined
  }
}
