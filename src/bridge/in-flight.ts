// The messages in a bridge's hands: keeps them by heartbeats, and gives each back in batches, until the broker has answered.

import { Batcher } from '../base/batcher.ts'
import { environment } from '../base/environment.ts'
import { isDeferqError } from '../base/errors.ts'
import { sleep } from '../base/time.ts'
import { MAX_BATCH } from '../contract/engine.ts'
import type { Answer, Burial, Delivery, Release, Transport } from '../contract/transport.ts'
import type { Ending } from './classify.ts'

/** How a message leaves this hand. */
export type Leave =
  | { verb: 'ack'; delivery: Delivery }
  | ({ verb: 'release' } & Release)
  | ({ verb: 'deadLetter' } & Burial)

export interface HandNeeds {
  transport: Transport
  visibilityMs: number
  trouble(error: unknown, message: string): void
}

export class Hand {
  readonly #needs: HandNeeds
  readonly #held = new Set<Delivery>()
  readonly #acks: Batcher<Delivery, Answer>
  readonly #releases: Batcher<Release, Answer>
  readonly #burials: Batcher<Burial, Answer>
  readonly #room = new Set<() => void>()

  constructor(needs: HandNeeds) {
    const { transport } = needs
    this.#needs = needs
    this.#acks = new Batcher((deliveries) => transport.ack(deliveries))
    this.#releases = new Batcher((releases) => transport.release(releases))
    this.#burials = new Batcher((burials) => transport.deadLetter(burials))
  }

  get size(): number {
    return this.#held.size
  }

  take(delivery: Delivery): void {
    this.#held.add(delivery)
  }

  /** Resolves when the next one leaves, or at the signal. */
  room(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve()
      const go = (): void => {
        signal.removeEventListener('abort', go)
        this.#room.delete(go)
        resolve()
      }
      this.#room.add(go)
      signal.addEventListener('abort', go, { once: true })
    })
  }

  /** 'left': the broker could not be told, and hands the message out again. Tried until its visibility is over for sure, or at the signal once. */
  async leave(leave: Leave, stopping: AbortSignal): Promise<Answer | 'left'> {
    const { delivery } = leave
    const until = environment.monotonic() + this.#needs.visibilityMs
    try {
      for (let pauseMs = 50; ; pauseMs = Math.min(2_000, pauseMs * 2)) {
        try {
          return await this.#tell(leave)
        } catch (error) {
          this.#needs.trouble(error, `the broker could not be told of a message's end (${leave.verb})`)
          const again = isDeferqError(error, 'STORE_UNAVAILABLE') && !stopping.aborted
          if (!again || environment.monotonic() + pauseMs > until) return 'left'
          await sleep(pauseMs, stopping)
        }
      }
    } finally {
      this.#held.delete(delivery)
      for (const go of [...this.#room]) go()
    }
  }

  /** What has not left by itself: back to its queue, as it is. */
  async giveBack(): Promise<number> {
    const held = [...this.#held]
    await Promise.allSettled(held.map((delivery) => this.#releases.add({ delivery })))
    return held.length
  }

  /** A third of the visibility: two beats may fail before a message is another's. */
  async beat(signal: AbortSignal): Promise<void> {
    const { transport, visibilityMs, trouble } = this.#needs
    while (!signal.aborted) {
      await sleep(visibilityMs / 3, signal)
      const held = signal.aborted ? [] : [...this.#held]
      for (let at = 0; at < held.length; at += MAX_BATCH) {
        try {
          await transport.extend(held.slice(at, at + MAX_BATCH), visibilityMs)
        } catch (error) {
          trouble(error, 'a heartbeat of messages in hand failed; it is tried again')
        }
      }
    }
  }

  #tell(leave: Leave): Promise<Answer> {
    const { verb, ...rest } = leave
    if (verb === 'ack') return this.#acks.add(leave.delivery)
    return verb === 'release' ? this.#releases.add(rest) : this.#burials.add(rest)
  }
}

/** The broker's verb for how a message ended. */
export function leaveOf(ending: Ending, delivery: Delivery): Leave {
  switch (ending.kind) {
    case 'ack':
    case 'drop':
      return { verb: 'ack', delivery }
    case 'release':
      return { verb: 'release', delivery, delayMs: ending.delayMs }
    case 'retry': {
      const { body, properties, delayMs } = ending
      return { verb: 'release', delivery, delayMs, body, ...(properties === undefined ? {} : { properties }) }
    }
    case 'dead_letter': {
      const { body, properties } = ending
      return { verb: 'deadLetter', delivery, body, ...(properties === undefined ? {} : { properties }) }
    }
  }
}
