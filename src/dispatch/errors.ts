// What the facade refuses, and how it says so.

import { DeferqError, errorToJson } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { DEFAULT_LOGGER } from '../base/log.ts'
import type { Draft, Lanes, Verdict } from '../contract/engine.ts'
import { isEnded } from '../contract/engine.ts'
import { isInterface } from '../engines/open.ts'
import { checkKnown, checkName, checkOptions, SHARED_OPTIONS } from '../tasks/check-options.ts'
import type { DeferQOptions } from '../tasks/options.ts'
import { checkLimits, checkLogger, OPTIONS_OF_DEFERQ } from '../tasks/options.ts'
import type { AnyTask } from '../tasks/task.ts'
import { isId } from '../values/fingerprint.ts'
import { failureText } from './receipt.ts'

/** The options of a DeferQ, with its logger. */
export function checked<Tasks extends readonly AnyTask[]>(
  options: DeferQOptions<Tasks>,
): DeferQOptions<Tasks> & { logger: Logger } {
  const at = 'new DeferQ()'
  checkKnown(options, OPTIONS_OF_DEFERQ, at)
  const { url, engine, defaults = {}, limits, logger = DEFAULT_LOGGER } = options
  if (url !== undefined && engine !== undefined)
    throw new DeferqError('INVALID_OPTION', `${at}: give either url or engine, not both.`)
  checkOptions(defaults, `${at}: defaults`, SHARED_OPTIONS)
  if (isInterface(url) && options.results !== undefined) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${at}: large results behind an HTTP interface are read by its own side. Give 'results' to the DeferQ that serves it.`,
    )
  }
  if (isInterface(url) && Object.keys(defaults).length > 0) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${at}: the defaults behind an HTTP interface are those of its own side; give options with each dispatch.`,
    )
  }
  checkLimits(limits)
  checkLogger(logger, at)
  return { ...options, logger }
}

export function byName(tasks: readonly AnyTask[]): ReadonlyMap<string, AnyTask> {
  if (!Array.isArray(tasks))
    throw new DeferqError('INVALID_OPTION', 'new DeferQ(): tasks must be a list: { tasks: [report, …] }.')
  const named = new Map<string, AnyTask>()
  for (const [index, each] of tasks.entries()) {
    if (typeof each?.name !== 'string' || typeof each.options !== 'object') {
      throw new DeferqError(
        'INVALID_OPTION',
        `new DeferQ(): tasks[${index}] is no task. Define it with task('name', { run }).`,
      )
    }
    if (named.has(each.name)) {
      throw new DeferqError('INVALID_OPTION', `new DeferQ(): there are two tasks called '${each.name}'.`)
    }
    named.set(each.name, each)
  }
  return named
}

export function checkLanes(lanes: Lanes, where: string): void {
  const { queue, name, ...rest } = (lanes ?? {}) as { queue?: unknown; name?: unknown }
  if ((queue === undefined) === (name === undefined) || Object.keys(rest).length > 0) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where} needs either a queue or a name: { queue: 'default' }, or { name: 'report.generate' }.`,
    )
  }
  checkName(queue ?? name, `${where}: ${queue === undefined ? 'name' : 'queue'}`)
}

export function checkId(taskId: unknown): asserts taskId is string {
  if (isId(taskId)) return
  const shown =
    typeof taskId === 'string'
      ? `'${taskId.slice(0, 30)}${taskId.length > 30 ? '…' : ''}' (${taskId.length} characters)`
      : String(taskId)
  throw new DeferqError(
    'INVALID_ID',
    `${shown} is no task id: one is 88 hexadecimal characters, as a receipt’s taskId has them.`,
  )
}

/** Why a draft was rejected. */
export function rejected(draft: Draft, { entry, sameParams }: Verdict): DeferqError {
  if (sameParams || draft.onMismatch !== 'reject') {
    return new DeferqError(
      'DUPLICATE',
      `dispatch('${draft.name}'): a run of the same work is ${entry.status} already, and onDuplicate is 'reject' for it. ` +
        'Wait for that one by the taskId in the details, or join it.',
      { details: { taskId: entry.id, status: entry.status } },
    )
  }
  return new DeferqError(
    'PARAMS_MISMATCH',
    `dispatch('${draft.name}'): another caller's ${isEnded(entry.status) ? 'result' : 'run'} stands under the same key with other params ` +
      "(onMismatch: 'reject'). Widen the key, or use onMismatch: 'join' to share it.",
    { details: { taskId: entry.id } },
  )
}

/** What is kept with a run that the asking side has cancelled. */
export function cancelText(reason = 'Cancelled by the asking side.'): string {
  const { stack: _here, ...json } = errorToJson(new DeferqError('TASK_CANCELLED', reason))
  return failureText(0, json)
}

export function abortedDispatch(name: string, signal: AbortSignal): DeferqError {
  return new DeferqError('ABORTED', `dispatch('${name}') was aborted before it was answered.`, {
    cause: signal.reason,
  })
}

/** What is on its way to the store may arrive there nevertheless. */
export function unlessAborted<T>(
  answer: Promise<T>,
  name: string,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal === undefined) return answer
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(abortedDispatch(name, signal))
    signal.addEventListener('abort', abort, { once: true })
    const settled = (): void => signal.removeEventListener('abort', abort)
    answer.finally(settled).then(resolve, reject)
  })
}

export const runWithinTx = (name: string): DeferqError =>
  new DeferqError(
    'INVALID_OPTION',
    `run('${name}') can't go with tx: it would wait for what nobody sees before the commit. dispatch() in the transaction, and wait with result() after it.`,
  )

export const scopeAlone = (name: string): DeferqError =>
  new DeferqError(
    'INVALID_OPTION',
    `invalidate('${name}'): a scope needs the params too; without both, all results of the name are forgotten.`,
  )
