// Says what became of each message: in the log, in an event, and as a count.
import type { Logger } from '../base/log.ts'
import type { About, Ending } from './classify.ts'

export interface BridgeSummary {
  reason: 'stopped' | 'maxMessages' | 'empty'
  reserved: number
  acked: number
  retried: number
  released: number
  dropped: number
  deadLettered: number
  /** Handed out again by the broker, which could not be told in time; the message's id sees to it that it runs once. */
  lost: number
}

/** What became of a message. */
export type BridgeEvent = About & {
  outcome: Ending['kind']
  taskId?: string
  reason?: string
  error?: string
}

const SAID = {
  ack: ['acked', 'debug', 'a message was admitted and acknowledged'],
  retry: ['retried', 'warn', 'a message failed and is tried again'],
  release: ['released', 'warn', 'a message was given back to its queue'],
  drop: ['dropped', 'warn', 'a message was deleted'],
  dead_letter: ['deadLettered', 'error', 'a message was set aside'],
} as const

export class Ledger {
  readonly summary: BridgeSummary = {
    reason: 'stopped',
    reserved: 0,
    acked: 0,
    retried: 0,
    released: 0,
    dropped: 0,
    deadLettered: 0,
    lost: 0,
  }
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
  }

  settled(about: About, ending: Ending): BridgeEvent {
    const details: Omit<BridgeEvent, 'outcome'> & { delayMs?: number } = { ...about }
    if (ending.kind === 'ack') {
      if (ending.taskId !== undefined) details.taskId = ending.taskId
    } else details.error = ending.error
    if (ending.kind === 'dead_letter') details.reason = ending.reason
    if (ending.kind === 'retry') details.delayMs = ending.delayMs
    const [count, level, message] = SAID[ending.kind]
    this.summary[count]++
    this.#logger[level](details, message)
    return { ...details, outcome: ending.kind }
  }

  lost(about: About, ending: Ending): void {
    this.summary.lost++
    this.#logger.warn(
      { ...about, outcome: ending.kind },
      'the broker hands this message out again: it could not be told in time what became of it',
    )
  }
}
