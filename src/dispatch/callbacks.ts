// Callbacks that are functions: called in this process once the run they were attached to has ended, in order.

import { DeferqError, isDeferqError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { unfailing } from '../base/log.ts'
import { sleep } from '../base/time.ts'
import type { Standing } from '../contract/engine.ts'
import { isEnded } from '../contract/engine.ts'
import type { Callback, CallbackFunction, DispatchOptions } from '../tasks/options.ts'
import { isNamed, isOn, isWebhook } from '../tasks/options.ts'
import type { Receipt } from '../tasks/task.ts'
import { receiptOf } from './receipt.ts'
import type { Waiters } from './waiters.ts'

const RETRIES = 2
// A callback that hangs, or that closes deferq itself, must not keep close() from ending.
const CLOSE_MS = 5_000

interface Link {
  run: CallbackFunction
  on: 'success' | 'failure' | 'both'
}

export class Callbacks {
  readonly #waiters: Waiters
  readonly #logger: Logger
  readonly #underWay = new Set<Promise<void>>()

  constructor(waiters: Waiters, logger: Logger) {
    this.#waiters = waiters
    this.#logger = unfailing(logger)
  }

  /** Whether the end of the run has to be told to this process. Refuses what is no callback before anything is sent. */
  wanted(options: DispatchOptions | undefined): boolean {
    const wanted = options?.callback !== undefined && linksOf(options.callback).length > 0
    if (wanted && options.tx !== undefined) {
      throw new DeferqError(
        'INVALID_OPTION',
        'A callback that is a function can’t go with tx: it would wait for ever when the transaction is rolled back. Name a task as the callback, or dispatch after the commit.',
      )
    }
    return wanted
  }

  attach(callback: NonNullable<DispatchOptions['callback']>, run: Standing): void {
    const links = linksOf(callback)
    if (links.length === 0) return
    const calls = this.#call(links, run).finally(() => this.#underWay.delete(calls))
    this.#underWay.add(calls)
  }

  /** Lets those whose run has ended finish; the waits of the others have been settled by then. */
  async close(): Promise<void> {
    const through = new AbortController()
    const all = Promise.all(this.#underWay).then(() => through.abort())
    await Promise.race([all, sleep(CLOSE_MS, through.signal)])
    if (!through.signal.aborted)
      this.#logger.warn(
        {},
        `${this.#underWay.size} callbacks have not ended within ${CLOSE_MS} ms of close()`,
      )
  }

  async #call(links: Link[], run: Standing): Promise<void> {
    let receipt: Receipt
    try {
      receipt = receiptOf(isEnded(run.status) ? run : await this.#waiters.wait(run.id, {}, true))
    } catch (error) {
      const why = isDeferqError(error, 'CLOSED') ? 'deferq was closed first' : 'its end could not be read'
      this.#logger.warn(
        { error, taskId: run.id, name: run.name },
        `a callback of '${run.name}' was not called: ${why}`,
      )
      return
    }
    const { default: pRetry } = await import('p-retry')
    for (const { run: call, on } of links) {
      if (on !== 'both' && (on === 'success') !== (receipt.status === 'completed')) continue
      try {
        await pRetry(() => attempt(call, receipt), { retries: RETRIES, minTimeout: 50, randomize: true })
      } catch (error) {
        this.#logger.error(
          { error: (error as Error).cause, taskId: run.id, name: run.name },
          `a callback of '${run.name}' failed ${RETRIES + 1} times and is given up`,
        )
      }
    }
  }
}

/** Whatever it throws as the cause of an error: p-retry gives up at once on a TypeError, and on what is no Error. */
async function attempt(call: CallbackFunction, receipt: Receipt): Promise<void> {
  try {
    await call(receipt)
  } catch (cause) {
    throw new Error('The callback failed.', { cause })
  }
}

function linksOf(callback: NonNullable<DispatchOptions['callback']>): Link[] {
  const links: Link[] = []
  for (const each of [callback].flat() as Callback[]) {
    if (typeof each === 'function') links.push({ run: each, on: 'success' })
    else if (isNamed(each) || isWebhook(each)) continue
    else if (typeof each?.run === 'function' && isOn(each.on))
      links.push({ run: each.run, on: each.on ?? 'success' })
    else {
      throw new DeferqError(
        'INVALID_OPTION',
        "callback must be a task’s name, a function, { name, params?, on? }, a URL, { url, on?, … }, { run, on? }, or a list of these; on is 'success', 'failure' or 'both'.",
      )
    }
  }
  return links
}
