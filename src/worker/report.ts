// Reports a worker's doings: counts them in its summary, emits its events and writes its log.

import type { EventEmitter } from 'node:events'
import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { AttemptOutcome } from '../contract/engine.ts'
import type { Attempt } from './attempt.ts'
import { aboutOf } from './attempt.ts'
import type { WorkerEvents, WorkerSummary } from './events.ts'

const TROUBLE_LOG_EVERY_MS = 5_000

export class WorkerReport {
  readonly summary: WorkerSummary = {
    reason: 'stopped',
    claimed: 0,
    completed: 0,
    failed: 0,
    cancelled: 0,
    retried: 0,
    released: 0,
    lost: 0,
  }
  readonly #emitter: EventEmitter<WorkerEvents>
  readonly #logger: Logger
  #troubleLoggedAt = -Infinity

  constructor(emitter: EventEmitter<WorkerEvents>, logger: Logger) {
    this.#emitter = emitter
    this.#logger = logger
  }

  started(attempt: Attempt): void {
    this.summary.claimed++
    this.#emit('started', aboutOf(attempt))
  }

  /** The store has accepted the attempt's outcome. */
  settled(attempt: Attempt): void {
    const about = aboutOf(attempt)
    const { error } = attempt
    const outcome = attempt.outcome as AttemptOutcome
    switch (outcome.kind) {
      case 'completed':
        this.summary.completed++
        this.#emit('completed', about)
        break
      case 'failed':
        this.summary.failed++
        this.#logger.error(
          { ...about, error },
          `'${attempt.name}' failed for good at attempt ${attempt.attempt}`,
        )
        this.#emit('failed', { ...about, error })
        break
      case 'retry':
        this.summary.retried++
        this.#logger.warn(
          { ...about, error, delayMs: outcome.delayMs },
          `'${attempt.name}' failed and is tried again`,
        )
        this.#emit('retried', { ...about, error, delayMs: outcome.delayMs })
        break
      case 'cancelled':
        this.summary.cancelled++
        this.#logger.info({ ...about, error }, `'${attempt.name}' was cancelled, and not run`)
        this.#emit('cancelled', { ...about, error })
        break
      case 'released':
        this.summary.released++
        this.#emit('released', about)
    }
  }

  /** The attempt holds no lease any more: its outcome does not count. */
  lost(attempt: Attempt): void {
    this.summary.lost++
    const about = aboutOf(attempt)
    if ((attempt.interruption ?? 'lost') !== 'cancelled')
      this.#logger.warn({ ...about }, `the lease of '${attempt.name}' was lost; its outcome was refused`)
    this.#emit('lost', about)
  }

  malformed(rows: readonly { id: string; reason: string }[]): void {
    for (const { id, reason } of rows) this.#logger.error({ id, reason }, 'a malformed entry was set aside')
  }

  trouble(error: unknown, message: string): void {
    this.#emit('trouble', error, message)
    // A store that is away would fill the log.
    const now = environment.monotonic()
    if (now - this.#troubleLoggedAt < TROUBLE_LOG_EVERY_MS) return
    this.#troubleLoggedAt = now
    const why = error instanceof DeferqError ? `${error.code}: ${error.message}` : error
    this.#logger.warn({ error: why }, message)
  }

  /** A listener that throws does not harm the task that it is told about. */
  #emit<Event extends keyof WorkerEvents>(event: Event, ...about: WorkerEvents[Event]): void {
    try {
      ;(this.#emitter.emit as (event: string, ...about: unknown[]) => boolean).call(
        this.#emitter,
        event,
        ...about,
      )
    } catch (error) {
      this.#logger.error({ error }, `a listener of the worker's '${event}' failed`)
    }
  }
}
