// Callbacks that are functions: called in this process once the run they were attached to has ended, in order.
import pRetry from 'p-retry'
import type { Standing } from './engine.ts'
import { isEnded } from './engine.ts'
import { DeferqError, isDeferqError } from './errors.ts'
import type { Callback, CallbackFunction, DispatchOptions } from './options.ts'
import { isNamed } from './options.ts'
import { receiptOf } from './receipt.ts'
import type { Logger, Receipt } from './task.ts'
import type { Waiters } from './waiters.ts'

const RETRIES = 2

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
    this.#logger = logger
  }

  /** Whether the end of the run has to be told to this process. Refuses what is no callback before anything is sent. */
  wanted(options: DispatchOptions | undefined): boolean {
    return options?.callback !== undefined && linksOf(options.callback).length > 0
  }

  attach(callback: NonNullable<DispatchOptions['callback']>, run: Standing): void {
    const links = linksOf(callback)
    if (links.length === 0) return
    const calls = this.#call(links, run).finally(() => this.#underWay.delete(calls))
    this.#underWay.add(calls)
  }

  /** Lets those whose run has ended finish; the waits of the others have been settled by then. */
  async close(): Promise<void> {
    await Promise.all(this.#underWay)
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
    for (const { run: call, on } of links) {
      if (on !== 'both' && (on === 'success') !== (receipt.status === 'completed')) continue
      try {
        await pRetry(async () => void (await call(receipt)), {
          retries: RETRIES,
          minTimeout: 50,
          randomize: true,
        })
      } catch (error) {
        this.#logger.error(
          { error, taskId: run.id, name: run.name },
          `a callback of '${run.name}' failed ${RETRIES + 1} times and is given up`,
        )
      }
    }
  }
}

function linksOf(callback: NonNullable<DispatchOptions['callback']>): Link[] {
  const links: Link[] = []
  for (const each of [callback].flat() as Callback[]) {
    if (typeof each === 'function') links.push({ run: each, on: 'success' })
    else if (isNamed(each)) continue
    else if (typeof each?.run === 'function') links.push({ run: each.run, on: each.on ?? 'success' })
    else {
      throw new DeferqError(
        'INVALID_OPTION',
        'callback must be a task’s name, a function, { name, params?, on? }, { run, on? }, or a list of these.',
      )
    }
  }
  return links
}
