// Waiting for work: one message at a time is awaited while somebody listens, and given back when it is not claimed at once.

import { sleep } from '../../base/time.ts'
import type { Want } from '../../contract/engine.ts'
import type { Delivery } from '../../contract/transport.ts'
import { VISIBILITY_MS } from './messages.ts'
import type { Parts } from './transactions.ts'

// A worker that is busy claims again before this, and its wait never begins.
const CALM_MS = 5
// New lanes are looked for as often.
const LOOK_MS = 1_000
const NONE_MS = 100
// Whoever was told claims within milliseconds; others must not wait for one that doesn't.
const KEEP_MS = 100

/** Waits for the work that one want names. */
export class Watch {
  readonly #parts: Parts
  readonly #want: Want
  #waiting: { stop: AbortController; ended: Promise<void> } | undefined
  #kept: Delivery[] = []

  constructor(parts: Parts, want: Want) {
    this.#parts = parts
    this.#want = want
  }

  start(): void {
    if (this.#waiting !== undefined) return
    const stop = new AbortController()
    const ended = this.#wait(stop.signal)
      .catch((error) => this.#parts.tell({ kind: 'trouble', message: 'waiting for work failed', error }))
      .finally(() => {
        this.#waiting = undefined
      })
    this.#waiting = { stop, ended }
  }

  /** Answers what was found and not given back. */
  async stop(): Promise<Delivery[]> {
    const waiting = this.#waiting
    waiting?.stop.abort()
    await waiting?.ended
    return this.#kept.splice(0)
  }

  async #wait(signal: AbortSignal): Promise<void> {
    const { lanes, queue, tell } = this.#parts
    await sleep(CALM_MS, signal)
    while (!signal.aborted) {
      const queues = lanes.wanted(this.#want, ['front', 'ready', 'turns', 'intake'])
      if (queues.length === 0) await sleep(NONE_MS, signal)
      else {
        const found = await queue.reserve({
          queues,
          limit: 1,
          visibilityMs: VISIBILITY_MS,
          waitMs: LOOK_MS,
          signal,
        })
        this.#kept.push(...found)
        if (found.length > 0 && !signal.aborted) {
          tell({ kind: 'work' })
          await sleep(KEEP_MS, signal)
          if (signal.aborted) return
          await queue.release(this.#kept.splice(0).map((delivery) => ({ delivery })))
          // Nobody here wants it just now; others may have it.
          await sleep(LOOK_MS, signal)
        }
      }
      if (!signal.aborted) await lanes.refresh(queues.length === 0 ? NONE_MS : LOOK_MS)
    }
  }
}
