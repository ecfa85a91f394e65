// How the interface shows a run: as JSON for any language, with its tag and its headers, and as a record for programs.

import { hash } from 'node:crypto'
import { environment } from '../base/environment.ts'
import { maskUrl } from '../base/errors.ts'
import { BATCH } from '../batch/state.ts'
import type { Standing } from '../contract/engine.ts'
import { metaTextOf, traceIdOf } from '../dispatch/run-extras.ts'
import type { Dispatched, Receipt } from '../tasks/task.ts'
import type { Answer } from './call.ts'

type Shown = Receipt & Partial<Pick<Dispatched, 'outcome' | 'sameParams' | 'refreshId'>>

export const isUnderWay = ({ status }: Receipt): boolean => status === 'pending' || status === 'running'

export function textOf(receipt: Shown): string {
  const { taskId, name, status, outcome, sameParams, refreshId, queue, priority, attempt, traceId } = receipt
  const { createdAt, dueAt, startedAt, finishedAt, freshUntil, progress, result, error } = receipt
  return jsonOf({
    taskId,
    name,
    status,
    outcome,
    sameParams: sameParams === false ? false : undefined,
    refreshId,
    queue,
    priority,
    attempt,
    createdAt,
    dueAt,
    startedAt,
    finishedAt,
    freshUntil,
    traceId,
    progress,
    result,
    // What was thrown, by its message: stacks are for the log of those who threw it.
    error: error === undefined ? undefined : { code: error.code, message: maskUrl(error.message) },
    history:
      receipt.history.length === 0
        ? undefined
        : receipt.history.map(({ attempt, at, error: { name, message } }) => ({
            attempt,
            at,
            error: { name, message: maskUrl(message) },
          })),
  })
}

/**
 * A run for programs: moments in epoch milliseconds, and `progress`, `result`, `errors` and `meta` as the texts that the store keeps,
 * so that every value arrives as it was. Params are shown of batches only: their members.
 */
export function runOf(run: Standing & { extra?: string; params?: string }): object {
  const { id, name, queue, status, priority, attempt, createdAt, dueAt, startedAt, finishedAt } = run
  const { progress, result, freshUntil, staleUntil, errors, extra, params } = run
  return {
    id,
    name,
    queue,
    status,
    priority,
    attempt,
    createdAt,
    dueAt,
    startedAt,
    finishedAt,
    freshUntil,
    staleUntil,
    traceId: traceIdOf(extra),
    meta: metaTextOf(extra),
    params: name === BATCH ? params : undefined,
    progress,
    result,
    errors,
  }
}

/** Dates as ISO text, big integers as digits, bytes as base64, sets and maps as lists. */
export function jsonOf(value: unknown): string {
  return isPlain(value, 0) ? JSON.stringify(value) : JSON.stringify(value, readable)
}

/** Whether JSON.stringify by itself writes it well: a look costs a fraction of a replacer. */
function isPlain(value: unknown, depth: number): boolean {
  if (typeof value === 'bigint') return false
  if (typeof value !== 'object' || value === null || value instanceof Date) return true
  if (depth > 50) return false
  if (Array.isArray(value)) return value.every((each) => isPlain(each, depth + 1))
  if (value instanceof Map || value instanceof Set || value instanceof Uint8Array) return false
  for (const name in value) if (!isPlain((value as Record<string, unknown>)[name], depth + 1)) return false
  return true
}

function readable(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Map || value instanceof Set) return [...value]
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  return value
}

/** In whole seconds: until it is due, and a second at least. */
export const retryAfter = ({ dueAt, status }: Receipt): string =>
  String(status === 'pending' ? Math.max(1, Math.ceil((dueAt.getTime() - environment.now()) / 1_000)) : 1)

export const tagOf = (text: string): string => `"${hash('sha1', text, 'base64url')}"`

export function json(status: number, body: string, headers: Record<string, string> = {}): Answer {
  return {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'private, no-cache', ...headers },
    body,
  }
}

/** How the answer came about, as caches say it (RFC 9211). */
export function cacheStatus({ outcome, freshUntil }: Dispatched): string {
  const ttl =
    freshUntil === undefined ? undefined : Math.floor((freshUntil.getTime() - environment.now()) / 1_000)
  switch (outcome) {
    case 'hit':
      return `deferq; hit; ttl=${Math.max(0, ttl as number)}`
    case 'stale':
      return `deferq; hit; ttl=${Math.min(-1, ttl as number)}`
    case 'negative':
      return 'deferq; hit; detail=failure'
    case 'joined':
      return 'deferq; fwd=miss; collapsed'
    case 'created':
      return 'deferq; fwd=miss'
  }
}
