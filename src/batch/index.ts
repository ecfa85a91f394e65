// Batches: many dispatches under one id, with counts, callbacks for the whole, and an end of their own.

import { DeferqError, isDeferqError } from '../base/errors.ts'
import type { Duration } from '../base/time.ts'
import { durationMs } from '../base/time.ts'
import type { Entry } from '../contract/engine.ts'
import { MAX_BATCH } from '../contract/engine.ts'
import type { AnyItem, Dispatching } from '../dispatch/api.ts'
import { cancelText } from '../dispatch/errors.ts'
import { failureOf, resultOf } from '../dispatch/receipt.ts'
import { notFound } from '../dispatch/waiters.ts'
import { checkKnown } from '../tasks/check-options.ts'
import type { Callback, WaitOptions } from '../tasks/options.ts'
import type { AnyTask, Dispatched } from '../tasks/task.ts'
import { decode } from '../values/decode.ts'
import { newRun } from '../values/fingerprint.ts'
import type { BatchStatus, Members } from './state.ts'
import { BATCH, letterOf, lookedUp, readAll, statusOf } from './state.ts'

export type { BatchStatus } from './state.ts'

export interface BatchOptions {
  /** For the members that name no queue of their own. */
  queue?: string
  /** False: the callbacks are told of each member, and not of the whole (true). */
  together?: boolean
  /** Told when all have completed. */
  then?: Callback | readonly Callback[]
  /** Told when all have ended, and not all have completed. */
  catch?: Callback | readonly Callback[]
  /** Told when all have ended. */
  finally?: Callback | readonly Callback[]
  /** Called in this process with each member that ends. */
  progress?: (status: BatchStatus) => void
  /** How long the batch can be asked for once it has ended, and its members at least (1 day). */
  retention?: Duration
}

/** One member's end, as `Promise.allSettled` tells it. */
export type MemberResult = { readonly taskId: string } & (
  | { readonly status: 'fulfilled'; readonly value: unknown }
  | { readonly status: 'rejected'; readonly reason: DeferqError }
)

export const MAX_MEMBERS = 10_000
const OF_MEMBERS: ReadonlySet<string> = new Set(['TASK_FAILED', 'TASK_CANCELLED', 'TASK_NOT_FOUND'])
const KNOWN = ['queue', 'together', 'then', 'catch', 'finally', 'progress', 'retention']

export async function batch(
  deferq: Dispatching,
  items: readonly AnyItem[],
  options: BatchOptions = {},
): Promise<BatchStatus> {
  check(items, options)
  const { together = true, retention = '1d', progress } = options
  const callbacks = callbacksOf(options)
  const receipts = (await deferq.dispatchMany(
    items.map((item) => memberOf(deferq, item, options, together ? [] : callbacks)) as never,
  )) as Dispatched[]
  const members: Members = {
    ids: receipts.map(({ taskId }) => taskId),
    own: receipts.map(({ outcome }) => (outcome === 'created' ? '1' : '0')).join(''),
    ended: receipts.map(letterOf).join(''),
  }
  // One that is made twice is two batches: their members are the same runs.
  const run = await deferq.dispatch(BATCH, members as never, {
    idempotencyKey: newRun(),
    retention,
    retries: 10_000,
    // Who asks for it once more must not begin it anew.
    resultTtl: retention,
    failureTtl: retention,
    ...(together && callbacks.length > 0 ? { callback: callbacks } : {}),
  })
  const status = statusOf(run.taskId, members.ids, members.ended)
  if (progress !== undefined) report(deferq, status, members.ended, progress)
  return status
}

export async function getBatch(deferq: Dispatching, batchId: string): Promise<BatchStatus> {
  const { entry, members, ended } = await found(deferq, batchId)
  const known =
    entry.status === 'completed' || entry.status === 'failed'
      ? ended
      : await lookedUp(await deferq.open(), members.ids, ended)
  return statusOf(batchId, members.ids, known)
}

/** Ends what the batch has created and nobody else had asked for before, and the batch. */
export async function cancelBatch(
  deferq: Dispatching,
  batchId: string,
  reason?: string,
): Promise<BatchStatus> {
  const { members, ended } = await found(deferq, batchId)
  const open = members.ids.filter((_, index) => members.own[index] === '1' && ended[index] === '.')
  const engine = await deferq.open()
  for (let at = 0; at < open.length; at += MAX_BATCH)
    await engine.cancel(open.slice(at, at + MAX_BATCH), cancelText(reason ?? 'Its batch was cancelled.'))
  await engine.cancel([batchId], cancelText(reason))
  return statusOf(batchId, members.ids, await lookedUp(engine, members.ids, ended))
}

/** Waits for all; each one's result or error, in their order. */
export async function batchResults(
  deferq: Dispatching,
  batchId: string,
  options?: WaitOptions,
): Promise<MemberResult[]> {
  const { members } = await found(deferq, batchId)
  // For the members and not for the batch, whose end is found a little later.
  await Promise.all(members.ids.map((id) => deferq.result(id, options).catch(unlessOfItsOwn)))
  const runs = await readAll(await deferq.open(), members.ids)
  return runs.map((run, index): MemberResult => {
    const taskId = members.ids[index] as string
    try {
      if (run === undefined) throw notFound(taskId)
      return { taskId, status: 'fulfilled', value: resultOf(run) }
    } catch (reason) {
      return { taskId, status: 'rejected', reason: reason as DeferqError }
    }
  })
}

/** A member's own end is told with its result; what ends the wait is not. */
function unlessOfItsOwn(error: unknown): void {
  if (!isDeferqError(error) || !OF_MEMBERS.has(error.code)) throw error
}

async function found(
  deferq: Dispatching,
  batchId: string,
): Promise<{ entry: Entry; members: Members; ended: string }> {
  const [entry] = await (await deferq.open()).read([batchId])
  if (entry === undefined) throw notFound(batchId)
  if (entry.name !== BATCH) {
    throw new DeferqError(
      'INVALID_ID',
      `${batchId.slice(0, 12)}… is the id of a run of '${entry.name}', and of no batch: ask getStatus() for it.`,
    )
  }
  const members = decode(entry.params) as Members
  return { entry, members, ended: lastKnown(entry) ?? members.ended }
}

/** What the batch itself has ended with; undefined while it has not, or where it was cancelled. */
function lastKnown({ status, result, errors }: Entry): string | undefined {
  if (status === 'completed') return (decode(result as string) as { ended: string }).ended
  if (status !== 'failed') return undefined
  const { details } = failureOf(errors.at(-1) as string).error as DeferqError
  return details?.ended as string | undefined
}

function check(items: readonly AnyItem[], options: BatchOptions): void {
  checkKnown(options, KNOWN, 'batch(): options')
  if (!Array.isArray(items) || items.length > MAX_MEMBERS) {
    throw new DeferqError(
      'INVALID_OPTION',
      `batch() takes a list of at most ${MAX_MEMBERS} items { name, params, options? }, and got ${Array.isArray(items) ? items.length : String(items)}.`,
    )
  }
  const { together, progress } = options
  if (together !== undefined && typeof together !== 'boolean')
    throw new DeferqError('INVALID_OPTION', 'batch(): together must be true or false.')
  if (progress !== undefined && typeof progress !== 'function')
    throw new DeferqError('INVALID_OPTION', 'batch(): progress must be a function.')
  if (options.retention !== undefined) durationMs(options.retention, 'batch(): retention')
}

/** Kept for as long as the batch, so that none is forgotten before the batch has seen its end. */
function memberOf(deferq: Dispatching, item: AnyItem, options: BatchOptions, callbacks: Callback[]): AnyItem {
  const own = item.options ?? {}
  const task = (deferq.tasks?.get(item.name) as AnyTask | undefined)?.options
  const retention = own.retention ?? task?.retention ?? deferq.defaults.retention ?? 0
  const least = options.retention ?? '1d'
  const queue = own.queue ?? options.queue
  const callback = [own.callback ?? [], callbacks].flat() as Callback[]
  return {
    ...item,
    options: {
      ...own,
      retention: Math.max(durationMs(retention, 'retention'), durationMs(least, 'retention')),
      ...(queue === undefined ? {} : { queue }),
      ...(callback.length === 0 ? {} : { callback }),
    },
  }
}

function callbacksOf(options: BatchOptions): Callback[] {
  return (['then', 'catch', 'finally'] as const).flatMap((when) =>
    ([options[when] ?? []].flat() as Callback[]).map((callback): Callback => {
      const on = when === 'then' ? 'success' : when === 'catch' ? 'failure' : 'both'
      if (typeof callback === 'string') return { name: callback, on }
      if (typeof callback === 'function') return { run: callback, on }
      return { ...callback, on }
    }),
  )
}

/** Each end is told to this process anyway; a listener that throws is its own business. */
function report(
  deferq: Dispatching,
  { id, taskIds }: BatchStatus,
  ended: string,
  progress: (status: BatchStatus) => void,
): void {
  const letters = [...ended]
  for (const [index, taskId] of taskIds.entries()) {
    if (letters[index] !== '.') continue
    const end = (letter: string): void => {
      letters[index] = letter
      try {
        progress(statusOf(id, taskIds, letters.join('')))
      } catch (error) {
        deferq.logger.error({ error, batchId: id }, 'the progress function of a batch failed')
      }
    }
    deferq.result(taskId).then(
      () => end('c'),
      (error: unknown) => {
        if (isDeferqError(error, 'TASK_CANCELLED')) end('x')
        else if (isDeferqError(error, 'TASK_FAILED')) end('f')
      },
    )
  }
}
