// What --consume adds to deferq-worker: bridges that bring a broker's messages, beside the worker or before it.

import type { Logger } from '../base/log.ts'
import type { UnknownStrategy } from '../bridge/index.ts'
import { Bridge } from '../bridge/index.ts'
import type { AnyDeferQ } from './bootstrap.ts'
import { usage } from './flags.ts'
import type { WorkerFlags } from './worker-flags.ts'
import { OF_MESSAGES } from './worker-flags.ts'

/** Whatever is wrong with the flags, before anything is loaded. */
export function checkConsuming({ values, sources }: WorkerFlags): void {
  if (values.consume === undefined) {
    const stray = OF_MESSAGES.find((flag) => values[flag] !== undefined)
    if (stray !== undefined)
      throw usage(`${sources.get(stray)} is said of messages: there are none without --consume=<url>.`)
    return
  }
  if (values.queues === undefined)
    throw usage(
      'Which queues of the broker are to be consumed? Write --queues=orders,invoices, or set DEFERQ_QUEUES.',
    )
}

export class Consuming {
  readonly #bridges: readonly Bridge[]
  /** Messages are brought first, and worked off then. */
  readonly #first: boolean
  readonly #once: boolean

  constructor(deferq: AnyDeferQ, handlers: unknown, { values }: WorkerFlags, logger: Logger) {
    const { consume = [], queues = [], unknown, backoff, visibility, once = false } = values
    const maxAttempts = values['max-attempts']
    this.#once = once
    this.#first = once || (values['stop-when-empty'] ?? false)
    this.#bridges = consume.map((url) => {
      const bridge = new Bridge(deferq, {
        url,
        queues,
        logger,
        // The same for the same broker, whoever consumes it: without who logs in, and how.
        name: url
          .replace(/\/\/[^@/]*@/, '//')
          .replace(/[?#].*$/s, '')
          .slice(0, 150),
        stopWhenEmpty: this.#first,
        ...(once ? { maxMessages: 1, prefetch: 1 } : {}),
        ...(typeof handlers === 'function'
          ? { resolve: handlers as never }
          : handlers === undefined
            ? {}
            : { handlers: handlers as never }),
        ...(unknown === undefined ? {} : { unknown: unknown as UnknownStrategy }),
        ...(maxAttempts === undefined ? {} : { maxAttempts }),
        ...(backoff === undefined ? {} : { backoff }),
        ...(visibility === undefined ? {} : { visibility }),
      })
      bridge.on('settled', ({ outcome, ...about }) => {
        // The bridge itself logs whatever else becomes of one.
        if (outcome === 'ack') logger.info(about, 'a message was admitted')
      })
      return bridge
    })
  }

  /** Rejects when a bridge does, so that a wrong address ends the program; until then it runs beside the worker. */
  async beside(): Promise<void> {
    if (!this.#first) await Promise.all(this.#bridges.map((bridge) => bridge.run()))
  }

  /** With --once and --stop-when-empty: what there is of messages, before the worker begins. */
  async before(): Promise<void> {
    if (!this.#first) return
    for (const bridge of this.#bridges) {
      const { reserved } = await bridge.run()
      if (this.#once && reserved > 0) return
    }
  }

  /** Sets aside what the worker found to fail, and lets go. */
  async after(): Promise<void> {
    for (const bridge of this.#bridges) {
      await bridge.stop()?.catch(() => {})
      if (this.#first) await bridge.bury()
    }
    await this.close()
  }

  async stop(): Promise<void> {
    await Promise.all(this.#bridges.map((bridge) => bridge.stop()))
  }

  async close(): Promise<void> {
    await Promise.all(this.#bridges.map((bridge) => bridge.close()))
  }
}
