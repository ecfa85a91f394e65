// One timer for many moments at which something would be late: what nearly always comes in time takes a comparison, and no timer.
import type { Timer } from './environment.ts'
import { environment } from './environment.ts'

/** Timers reach no further. */
const FURTHEST_MS = 2_147_483_647

export class DeadlineTimer {
  readonly #ring: (now: number) => number
  #at = Number.POSITIVE_INFINITY
  #timer: Timer | undefined
  #holds = true

  /** `ring` sees to what is late at that moment, and answers when to ring next: Infinity for not before it is told to. */
  constructor(ring: (now: number) => number) {
    this.#ring = ring
  }

  /** Rings at that moment of performance.now(). What comes in time takes nothing back: an alarm for nothing costs less. */
  by(at: number): void {
    if (at >= this.#at) return
    environment.clearTimeout(this.#timer)
    this.#at = at
    const ms = Math.max(0, Math.ceil(at - environment.monotonic()))
    this.#timer = environment.setTimeout(this.#rung, Math.min(ms, FURTHEST_MS))
    if (!this.#holds) this.#timer.unref()
  }

  /** Whether the process is to go on until it rings. */
  hold(holds: boolean): void {
    this.#holds = holds
    if (holds) this.#timer?.ref()
    else this.#timer?.unref()
  }

  /** Until it is told of another moment. */
  stop(): void {
    environment.clearTimeout(this.#timer)
    this.#at = Number.POSITIVE_INFINITY
  }

  readonly #rung = (): void => {
    this.#at = Number.POSITIVE_INFINITY
    this.by(this.#ring(environment.monotonic()))
  }
}
