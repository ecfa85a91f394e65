// How deferq-worker answers signals: the first lets tasks finish, the second ends the worker at once.
import { environment } from '../base/environment.ts'
import type { Logger } from '../base/log.ts'

// Closing and aborting are bounded by the engines; a store that hangs all the same must not hold the process.
export const CLOSE_MS = 5_000

export const ABORT_MS = 5_000

/** What a signal reaches. */
export interface Crew {
  stop(): Promise<unknown>
  abort(): Promise<unknown>
}

/** The first signal stops, the second aborts, the third ends the process whatever it is doing. */
export class Signals {
  count = 0
  readonly #logger: Logger
  #crew: Crew | undefined
  #force: (() => void) | undefined

  constructor(logger: Logger) {
    this.#logger = logger
    // From the very start, because a process with the id 1 (in a container) has no default that would end it.
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.#hear(signal))
  }

  /** Resolves, with nothing, when an abort has not come to its end in time. */
  drive(crew: Crew, run: Promise<unknown>): Promise<undefined> {
    this.#crew = crew
    const over = (): void => {
      this.#force = undefined
    }
    run.then(over, over)
    return new Promise((resolve) => {
      this.#force = () => resolve(undefined)
    })
  }

  #hear(signal: string): void {
    this.count++
    const crew = this.#crew
    if (crew === undefined && this.count === 1) {
      this.#logger.info({ signal }, 'stopping before it has begun; a second signal ends it at once')
    } else if (crew === undefined || this.count > 2) {
      process.exit(1)
    } else if (this.count === 1) {
      this.#logger.info(
        { signal },
        'stopping: no new work, running tasks may finish; a second signal aborts them',
      )
      crew.stop().catch(() => {})
    } else {
      this.#logger.warn({ signal }, 'aborting: running tasks are released now')
      crew.abort().catch(() => {})
      environment.setTimeout(() => this.#force?.(), ABORT_MS).unref()
    }
  }
}
