// The routes of single tasks: asking for one, looking at it, waiting for it, cancelling it, and forgetting results.

import { isDeferqError } from '../base/errors.ts'
import type { DeferQ } from '../deferq.ts'
import { notFound } from '../dispatch/waiters.ts'
import type { AnyTask, Dispatched, Receipt } from '../tasks/task.ts'
import { isId } from '../values/fingerprint.ts'
import type { Answer, Call } from './call.ts'
import { Refusal } from './call.ts'
import { eventsOf } from './events.ts'
import type { Gate } from './exposed-engine.ts'
import { idempotencyKeyOf, membersOf, optionsOf, paramsOf, waitOf } from './parse-request.ts'
import { cacheStatus, isUnderWay, json, retryAfter, tagOf, textOf } from './render.ts'
import type { Watch } from './watch.ts'

/** What the routes work with. The facade lies behind the gate. */
export interface Inside {
  deferq: DeferQ<readonly AnyTask[]>
  gate: Gate
  watch: Watch
  maxWaitMs: number
}

/** A verified request at one of the routes. */
export interface Visit {
  call: Call
  body: Uint8Array
  /** The path before the route, without a slash at its end. */
  base: string
  id: string
}

export async function postTask(inside: Inside, { call, body, base }: Visit): Promise<Answer> {
  const { deferq, gate, maxWaitMs } = inside
  const members = membersOf(call, body, ['name', 'params', 'options'])
  const name = gate.named(members.name)
  const options = optionsOf(members.options, gate, members.name as string)
  const idempotencyKey = idempotencyKeyOf(call)
  if (idempotencyKey !== undefined) {
    // Its second use with other params is a mistake of the caller's, and no question of sharing.
    Object.assign(options, { idempotencyKey, onMismatch: options.onMismatch ?? 'reject' })
  }
  const params = paramsOf(members)
  const waitMs = waitOf(call, maxWaitMs)
  const dispatched = (await deferq.dispatch(name, params, options)) as Dispatched
  const { outcome } = dispatched
  const late = waitMs !== undefined && isUnderWay(dispatched)
  const receipt = late ? await endOf(inside, dispatched, waitMs, call.signal) : dispatched
  const headers: Record<string, string> = {
    location: `${base}/tasks/${receipt.taskId}`,
    'cache-status': cacheStatus(dispatched),
  }
  if (waitMs !== undefined) headers['preference-applied'] = `wait=${Math.ceil(waitMs / 1_000)}`
  if (isUnderWay(receipt)) headers['retry-after'] = retryAfter(receipt)
  const { sameParams, refreshId } = dispatched
  const shown = refreshId === undefined ? { outcome, sameParams } : { outcome, sameParams, refreshId }
  return json(isUnderWay(receipt) ? 202 : 200, textOf({ ...receipt, ...shown } as Receipt), headers)
}

export async function getTask(inside: Inside, { call, id }: Visit): Promise<Answer> {
  const { deferq, maxWaitMs } = inside
  const waitMs = waitOf(call, maxWaitMs)
  let receipt = await deferq.getStatus(known(id))
  if (waitMs !== undefined && isUnderWay(receipt)) receipt = await endOf(inside, receipt, waitMs, call.signal)
  const text = textOf(receipt)
  const etag = tagOf(text)
  const headers: Record<string, string> = { etag }
  if (waitMs !== undefined) headers['preference-applied'] = `wait=${Math.ceil(waitMs / 1_000)}`
  if (isUnderWay(receipt)) headers['retry-after'] = retryAfter(receipt)
  const seen = call
    .header('if-none-match')
    ?.split(',')
    .map((tag) => tag.trim().replace(/^W\//, ''))
  if (seen?.some((tag) => tag === etag || tag === '*'))
    return { status: 304, headers: { ...headers, 'cache-control': 'private, no-cache' } }
  return json(200, text, headers)
}

export async function taskEvents({ gate, watch }: Inside, { call, id }: Visit): Promise<Answer> {
  const [run] = await gate.read([known(id)])
  if (run === undefined) throw notFound(id)
  return eventsOf(run, watch, call.header('last-event-id'), call.signal)
}

export async function deleteTask({ deferq }: Inside, { call, id }: Visit): Promise<Answer> {
  const { searchParams } = new URL(call.target, 'http://here')
  const answer = await deferq.cancel(known(id), searchParams.get('reason')?.slice(0, 1_000))
  if (answer === 'unknown') throw notFound(id)
  return json(200, JSON.stringify({ taskId: id, answer }))
}

export async function postInvalidation({ deferq, gate }: Inside, { call, body }: Visit): Promise<Answer> {
  const members = membersOf(call, body, ['taskId', 'name', 'params', 'scope', 'idempotencyKey'])
  const { taskId, scope, idempotencyKey } = members
  if (taskId !== undefined) {
    if (Object.keys(members).length > 1)
      throw new Refusal(422, 'A taskId says it all: leave out what is beside it.')
    return json(200, JSON.stringify({ invalidated: await deferq.invalidate(known(String(taskId))) }))
  }
  const name = gate.named(members.name)
  const options = {
    ...(scope === undefined ? {} : { scope: scope as string }),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey: idempotencyKey as string }),
  }
  const one = Object.keys(members).length > 1
  const params = members.params === undefined ? undefined : paramsOf(members)
  const invalidated = one ? await deferq.invalidate(name, params, options) : await deferq.invalidate(name)
  return json(200, JSON.stringify({ invalidated }))
}

/** Where the run stands when it has ended, or when the time is over. */
async function endOf(
  { deferq }: Inside,
  receipt: Receipt,
  timeout: number,
  signal: AbortSignal,
): Promise<Receipt> {
  try {
    await deferq.result(receipt.taskId, { timeout, signal })
  } catch (error) {
    const ended = isDeferqError(error, 'TASK_FAILED') || isDeferqError(error, 'TASK_CANCELLED')
    if (!ended && !isDeferqError(error, 'WAIT_TIMEOUT') && !isDeferqError(error, 'ABORTED')) throw error
    if (signal.aborted) return receipt
  }
  return deferq.getStatus(receipt.taskId)
}

/** There is nothing at a malformed id; at a well-formed one there may have been. */
function known(id: string): string {
  if (isId(id)) return id
  throw new Refusal(
    404,
    'There is no such task: an id is 88 hexadecimal characters, as taskId and Location have them.',
  )
}
