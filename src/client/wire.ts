// The records that the interface's routes for programs answer with, and the request texts that it takes.

import type { AdmitOutcome, Draft, Standing, Verdict } from '../contract/engine.ts'
import type { Seen } from '../dispatch/backend.ts'
import type { Callback, DispatchOptions } from '../tasks/options.ts'
import { isNamed, isWebhook } from '../tasks/options.ts'
import { encode } from '../values/encode.ts'
import { keyOf } from '../values/fingerprint.ts'
import type { Limits } from '../values/limits.ts'
import { refusalOfItem } from './problems.ts'

/** A run: moments in epoch milliseconds; `progress`, `result`, `errors` and `meta` are the texts that the store keeps. */
export interface Run extends Standing {
  traceId?: string
  meta?: string
  /** Of a batch only. */
  params?: string
}

/** The answer to one item: how it was admitted, or the problem with it. */
export type Answer =
  | { outcome: AdmitOutcome; sameParams: boolean; refreshId?: string; run: Run }
  | { error: Record<string, unknown> }

/** A draft and the options that the server drafts from. */
export interface Asked extends Draft {
  /** JSON; '' for none. */
  options: string
}

/** Params over all items of one request. Interfaces take bodies of 4 MiB, and proxies often less. */
const MOST_CHARACTERS = 1_000_000

export function seenOf({ traceId, meta, ...run }: Run): Seen {
  if (traceId === undefined && meta === undefined) return run
  return { ...run, extra: JSON.stringify({ traceId, meta }) }
}

/** Rejected where the item was refused. */
export function verdictOf(answer: Answer): Promise<Verdict> {
  if ('error' in answer) return Promise.reject(refusalOfItem(answer.error))
  const { run, ...verdict } = answer
  return Promise.resolve({ ...verdict, entry: run })
}

/** `{ name, params, options, run }`: params as JSON, in which tags stand for what JSON lacks. */
export function itemText({ id, name, params, options }: Asked): string {
  const said = options === '' ? '' : `,"options":${options}`
  return `{"name":${JSON.stringify(name)},"params":${params}${said},"run":"${id.slice(keyOf(id).length)}"}`
}

/** The options that travel: neither `tx` and `signal`, nor functions, which are called in this process. */
export function optionsText(
  options: DispatchOptions | undefined,
  traceId: string | undefined,
  limits: Partial<Limits> | undefined,
): string {
  const { tx: _tx, signal: _signal, callback, ...rest } = options ?? {}
  const callbacks = ([callback ?? []].flat() as Callback[])
    .filter((each) => isNamed(each) || isWebhook(each))
    .map((each) => {
      if (typeof each === 'string' || !('params' in each) || each.params === undefined) return each
      return { ...each, params: tagged(each.params, limits) }
    })
  const said = {
    ...rest,
    ...(traceId === undefined ? {} : { traceId }),
    ...(callbacks.length === 0 ? {} : { callback: callbacks }),
  }
  const text = JSON.stringify(said)
  return text === '{}' ? '' : text
}

/** The value as JSON, in which tags stand for what JSON lacks. */
export const tagged = (params: unknown, limits: Partial<Limits> | undefined): unknown =>
  JSON.parse(encode(params, 'params', limits))

/** In requests of at most `most` items, and of so many characters that interfaces and proxies take them. */
export function parted<Each extends Draft>(drafts: readonly Each[], most: number): Each[][] {
  const parts: Each[][] = []
  let size = 0
  for (const draft of drafts) {
    size += draft.params.length
    const last = parts.at(-1)
    if (last === undefined || last.length >= most || size > MOST_CHARACTERS) {
      parts.push([draft])
      size = draft.params.length
    } else {
      last.push(draft)
    }
  }
  return parts
}
