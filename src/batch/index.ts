// Batches: many dispatches under one id, with counts, callbacks for the whole, and an end of their own.

import { DeferqError, isDeferqError } from '../base/errors.ts'
import type { Duration } from '../base/time.ts'
import { durationMs } from '../base/time.ts'
import { MAX_BATCH } from '../contract/engine.ts'
import type { AnyItem } from '../dispatch/api.ts'
import type { Backend, Seen } from '../dispatch/backend.ts'
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
  backend: Backend,
  items: readonly AnyItem[],
  options: BatchOptions = {},
): Promise<BatchStatus> {
  check(items, options)
  const { together = true, retention = '1d', progress } = options
  const callbacks = callbacksOf(options)
  const receipts = (await backend.dispatchMany(
    items.map((item) => memberOf(backend, item, options, together ? [] : callbacks)) as never,
  )) as Dispatched[]
  const members: Members = {
    ids: receipts.map(({ taskId }) => taskId),
    own: receipts.map(({ outcome }) => (outcome === 'created' ? '1' : '0')).join(''),
    ended: receipts.map(letterOf).join(''),
  }
  // One that is made twice is two batches: their members are the same runs.
  const run = await backend.dispatch(BATCH, members as never, {
    idempotencyKey: newRun(),
    retention,
    retries: 10_000,
    // Who asks for it once more must not begin it anew.
    resultTtl: retention,
    failureTtl: retention,
    ...(together && callbacks.length > 0 ? { callback: callbacks } : {}),
  })
  const status = statusOf(run.taskId, members.ids, members.ended)
  if (progress !== undefined) report(backend, status, members.ended, progress)
  return status
}

export async function getBatch(backend: Backend, batchId: string): Promise<BatchStatus> {
  const { entry, members, ended } = await found(backend, batchId)
  const known =
    entry.status === 'completed' || entry.status === 'failed'
      ? ended
      : await lookedUp(backend, members.ids, ended)
  return statusOf(batchId, members.ids, known)
}

/** Ends what the batch has created and nobody else had asked for before, and the batch. */
export async function cancelBatch(backend: Backend, batchId: string, reason?: string): Promise<BatchStatus> {
  const { members, ended } = await found(backend, batchId)
  const open = members.ids.filter((_, index) => members.own[index] === '1' && ended[index] === '.')
  for (let at = 0; at < open.length; at += MAX_BATCH)
    await backend.cancel(open.slice(at, at + MAX_BATCH), reason ?? 'Its batch was cancelled.')
  await backend.cancel([batchId], reason)
  return statusOf(batchId, members.ids, await lookedUp(backend, members.ids, ended))
}

/** Waits for all; each one's result or error, in their order. */
export async function batchResults(
  backend: Backend,
  batchId: string,
  options?: WaitOptions,
): Promise<MemberResult[]> {
  const { members } = await found(backend, batchId)
  // For the members and not for the batch, whose end is found a little later.
  await Promise.all(members.ids.map((id) => backend.wait(id, options).catch(unlessOfItsOwn)))
  const runs = await readAll(backend, members.ids)
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
  backend: Backend,
  batchId: string,
): Promise<{ entry: Seen; members: Members; ended: string }> {
  const [entry] = await backend.read([batchId])
  if (entry === undefined) throw notFound(batchId)
  if (entry.name !== BATCH) {
    throw new DeferqError(
      'INVALID_ID',
      `${batchId.slice(0, 12)}… is the id of a run of '${entry.name}', and of no batch: ask getStatus() for it.`,
    )
  }
  const members = decode(entry.params as string) as Members
  return { entry, members, ended: lastKnown(entry) ?? members.ended }
}

/** What the batch itself has ended with; undefined while it has not, or where it was cancelled. */
function lastKnown({ status, result, errors }: Seen): string | undefined {
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
function memberOf(backend: Backend, item: AnyItem, options: BatchOptions, callbacks: Callback[]): AnyItem {
  const own = item.options ?? {}
  const task = (backend.tasks?.get(item.name) as AnyTask | undefined)?.options
  const retention = own.retention ?? task?.retention ?? backend.defaults.retention ?? 0
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

/** Tells each end to `progress`; what that throws is logged. */
function report(
  backend: Backend,
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
        backend.logger.error({ error, batchId: id }, 'the progress function of a batch failed')
      }
    }
    // A wait that fails says nothing about the member.
    backend.wait(taskId).then(
      (run) => end(letterOf(run)),
      () => {},
    )
  }
}
