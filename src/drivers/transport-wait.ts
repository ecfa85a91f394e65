// How a reservation waits: it looks, then looks again when the broker rings, when a message falls due, and at its deadline.
import { environment } from '../base/environment.ts'
import type { DeferqError } from '../base/errors.ts'
import { isDeferqError } from '../base/errors.ts'
import { sleep } from '../base/time.ts'
import type { Delivery, Reservation } from '../contract/transport.ts'

export interface Look {
  deliveries: Delivery[]
  /** Look again after this time, even if nothing rings. */
  nextMs: number
}

export interface Waiting {
  look(): Promise<Look>
  /** Calls `ring` when a message may have come; answers a function that stops it. */
  listen(ring: () => void): () => void
  /** True if it also rings for messages that came before `listen` was called. */
  ringsLate: boolean
  /** Reports an outage in the middle of a wait; the wait goes on. */
  trouble(error: DeferqError): void
}

export class Waits {
  readonly #ends = new Set<() => void>()
  #closed = false

  async reserve({ waitMs = 0, signal }: Reservation, waiting: Waiting): Promise<Delivery[]> {
    const deadline = environment.monotonic() + waitMs
    let rung = new AbortController()
    const ring = (): void => rung.abort()
    let stop: (() => void) | undefined
    this.#ends.add(ring)
    signal?.addEventListener('abort', ring)
    try {
      for (;;) {
        const isOver = (): boolean => environment.monotonic() >= deadline || signal?.aborted === true
        const found = await this.#look(waiting, isOver)
        // Closing has given the messages back.
        if (this.#closed) return []
        if (found.deliveries.length > 0 || isOver()) return found.deliveries
        const isFirst = stop === undefined
        stop?.()
        stop = waiting.listen(ring)
        // A message may have come between the look and the listening.
        if (isFirst && !waiting.ringsLate) continue
        await sleep(Math.max(1, Math.min(found.nextMs, deadline - environment.monotonic())), rung.signal)
        if (rung.signal.aborted) rung = new AbortController()
      }
    } finally {
      stop?.()
      this.#ends.delete(ring)
      signal?.removeEventListener('abort', ring)
    }
  }

  async #look({ look, trouble }: Waiting, isOver: () => boolean): Promise<Look> {
    try {
      return await look()
    } catch (error) {
      if (this.#closed) return { deliveries: [], nextMs: 0 }
      if (isOver() || !isDeferqError(error, 'STORE_UNAVAILABLE')) throw error
      trouble(error)
      return { deliveries: [], nextMs: AFTER_TROUBLE_MS }
    }
  }

  /** Ends every wait with nothing. */
  close(): void {
    this.#closed = true
    for (const end of this.#ends) end()
  }
}

const AFTER_TROUBLE_MS = 250
