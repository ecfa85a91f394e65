// From an engine's record of a run to the receipt that a caller gets, with values and errors revived.

import { environment } from '../base/environment.ts'
import type { ErrorJson } from '../base/errors.ts'
import { DeferqError, errorFromJson } from '../base/errors.ts'
import type { Parent, Standing, Verdict } from '../contract/engine.ts'
import type { Dispatched, Ended, Failure, Receipt } from '../tasks/task.ts'
import { decode } from '../values/decode.ts'
import { keyOf } from '../values/fingerprint.ts'
import { metaOf, traceIdOf } from './run-extras.ts'

/** What the runner stores for a failed attempt. */
export interface FailureJson {
  attempt: number
  at: number
  error: ErrorJson
}

export function receiptOf(run: Standing & { extra?: string }): Receipt {
  const receipt: Record<string, unknown> = {
    taskId: run.id,
    fingerprint: keyOf(run.id),
    name: run.name,
    status: run.status,
    attempt: run.attempt,
    priority: run.priority,
    queue: run.queue,
    createdAt: new Date(run.createdAt),
    dueAt: new Date(run.dueAt),
    history: run.errors.length === 0 ? [] : run.errors.map(failureOf),
  }
  if (run.startedAt !== undefined) receipt.startedAt = new Date(run.startedAt)
  if (run.finishedAt !== undefined) receipt.finishedAt = new Date(run.finishedAt)
  if (run.progress !== undefined) receipt.progress = decode(run.progress)
  const traceId = traceIdOf(run.extra)
  if (traceId !== undefined) receipt.traceId = traceId
  const meta = metaOf(run.extra)
  if (meta !== undefined) receipt.meta = meta
  if (run.status === 'completed') {
    receipt.result = decode(run.result as string)
    receipt.freshUntil = new Date(run.freshUntil as number)
  } else if (run.status === 'failed' || run.status === 'cancelled') {
    receipt.error = errorOf(run, receipt.history as Failure[])
  }
  return receipt as unknown as Receipt
}

/** For one who needs no receipt. */
export const asIs = (verdict: Verdict): Verdict => verdict

export function dispatchedOf({ outcome, entry, sameParams, refreshId }: Verdict): Dispatched {
  const dispatched = receiptOf(entry) as { -readonly [Field in keyof Dispatched]: Dispatched[Field] }
  dispatched.outcome = outcome as Dispatched['outcome']
  dispatched.sameParams = sameParams
  if (refreshId !== undefined) dispatched.refreshId = refreshId
  return dispatched as Dispatched
}

/** The error with which a failed or cancelled run answers; its cause is what the last attempt threw. */
function errorOf({ id, name, status, attempt }: Standing, history: readonly Failure[]): DeferqError {
  const last = history.at(-1)?.error
  const options = { cause: last, details: { taskId: id, name, attempts: attempt, history } }
  return status === 'cancelled'
    ? new DeferqError(
        'TASK_CANCELLED',
        `The task '${name}' was cancelled${last ? `: ${last.message}` : '.'}`,
        options,
      )
    : new DeferqError(
        'TASK_FAILED',
        `The task '${name}' failed after ${attempt} attempt${attempt === 1 ? '' : 's'}: ${last?.message ?? 'no reason is stored.'}`,
        options,
      )
}

export function failureOf(text: string): Failure {
  try {
    const { attempt, at, error } = JSON.parse(text) as FailureJson
    return { attempt: Number(attempt ?? 0), at: new Date(at), error: errorFromJson(error) }
  } catch (cause) {
    const error = new DeferqError('MALFORMED_VALUE', 'The stored error of this attempt can’t be read.', {
      cause,
    })
    return { attempt: 0, at: new Date(0), error }
  }
}

export function failureText(attempt: number, error: ErrorJson): string {
  return JSON.stringify({ attempt, at: environment.now(), error } satisfies FailureJson)
}

export function endedOf({ id, name, status, value }: Parent): Ended {
  if (status === 'completed') return { id, name, status, result: decode(value as string) }
  const error =
    value === undefined
      ? new DeferqError('TASK_CANCELLED', `The task '${name}' was ${status}.`)
      : failureOf(value).error
  return { id, name, status, error }
}

/** The result, or the error with which the run ended, thrown; of a result nothing but that is made. */
export const resultOf = (run: Standing): unknown =>
  run.status === 'completed' ? decode(run.result as string) : outcomeOf(receiptOf(run))

/** The same of a receipt. */
function outcomeOf(receipt: Receipt): unknown {
  if (receipt.status === 'completed') return receipt.result
  if (receipt.status === 'failed' || receipt.status === 'cancelled') throw receipt.error
  throw new DeferqError(
    'NOT_FINISHED',
    `The task '${receipt.name}' is ${receipt.status}: there is no result yet. Wait for it with result(taskId).`,
    { details: { taskId: receipt.taskId, status: receipt.status } },
  )
}
