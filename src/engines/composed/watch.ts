// Waiting for work: one message at a time is awaited while somebody listens, and given back when it is not claimed at once.
import type { Want } from '../../engine.ts'
import { sleep } from '../../time.ts'
import type { Delivery } from '../../transports/transport.ts'
import { VISIBILITY_MS } from './claims.ts'
import type { Parts } from './transactions.ts'

// A worker that is busy claims again before this, and its wait never begins.
const CALM_MS = 5
// New lanes are looked for as often.
const LOOK_MS = 1_000
// Whoever was told claims within milliseconds; others must not wait for one that doesn't.
const KEEP_MS = 100

export class Watch {
  readonly #parts: Parts
  readonly #listened: () => boolean
  #wanted: Want | undefined
  #waiting: { stop: AbortController; ended: Promise<void> } | undefined
  #kept: Delivery[] = []
  #closed = false

  constructor(parts: Parts, listened: () => boolean) {
    this.#parts = parts
    this.#listened = listened
  }

  /** A hint may tell that something is there for this want. */
  resume(want: Want): void {
    if (this.#closed || this.#waiting !== undefined || !this.#listened()) return
    this.#wanted = want
    const stop = new AbortController()
    const ended = this.#wait(want, stop.signal)
      .catch((error) => this.#parts.tell({ kind: 'trouble', message: 'waiting for work failed', error }))
      .finally(() => {
        this.#waiting = undefined
      })
    this.#waiting = { stop, ended }
  }

  /** What was found meanwhile, if it fits this want; the rest goes back. */
  async pause(want: Want): Promise<Delivery[]> {
    const waiting = this.#waiting
    waiting?.stop.abort()
    await waiting?.ended
    const kept = this.#kept
    this.#kept = []
    if (kept.length === 0 || fits(this.#wanted, want)) return kept
    await this.#giveBack(kept)
    return []
  }

  async close(): Promise<Delivery[]> {
    this.#closed = true
    this.#waiting?.stop.abort()
    await this.#waiting?.ended
    return this.#kept.splice(0)
  }

  async #wait(want: Want, signal: AbortSignal): Promise<void> {
    const { lanes, queue, tell } = this.#parts
    await sleep(CALM_MS, signal)
    while (!signal.aborted) {
      const queues = lanes.wanted(want)
      if (queues.length === 0) await sleep(LOOK_MS / 10, signal)
      else {
        this.#kept = await queue.reserve({
          queues,
          limit: 1,
          visibilityMs: VISIBILITY_MS,
          waitMs: LOOK_MS,
          signal,
        })
        if (this.#kept.length > 0) {
          if (signal.aborted) return
          tell({ kind: 'work' })
          await sleep(KEEP_MS, signal)
          if (!signal.aborted) await this.#giveBack(this.#kept.splice(0))
          return
        }
      }
      if (!signal.aborted) await lanes.refresh(queues.length === 0 ? LOOK_MS / 10 : LOOK_MS)
    }
  }

  async #giveBack(deliveries: readonly Delivery[]): Promise<void> {
    if (deliveries.length > 0) await this.#parts.queue.release(deliveries.map((delivery) => ({ delivery })))
  }
}

const fits = (before: Want | undefined, now: Want): boolean =>
  before?.names.every((name) => now.names.includes(name)) === true &&
  (now.queues === undefined || before.queues?.every((queue) => now.queues?.includes(queue)) === true)
