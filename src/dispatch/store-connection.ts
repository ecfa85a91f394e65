// The facade's hold on its store: opened once and when first needed, heard for as long as it is open, closed at the end.

import { DeferqError } from '../base/errors.ts'
import type { Engine, Hint, Listening } from '../contract/engine.ts'

export interface ConnectionNeeds {
  make: () => Promise<Engine>
  /** Whether the engine was made here, and not handed over. */
  own: boolean
  opened: (engine: Engine, listening: Listening) => void
  hear: (hint: Hint) => void
}

export class StoreConnection {
  readonly #needs: ConnectionNeeds
  readonly #ears = new Set<(hint: Hint) => void>()
  #opening: Promise<Engine> | undefined
  #closed = false

  constructor(needs: ConnectionNeeds) {
    this.#needs = needs
  }

  open(): Promise<Engine> {
    if (this.#closed)
      return Promise.reject(new DeferqError('CLOSED', 'This deferq is closed: make a new one.'))
    this.#opening ??= this.#open().catch((error) => {
      // The store may be back at the next call.
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  /** The engine's hints, also across a reconnect. Answers a function that stops listening. */
  listen(hear: (hint: Hint) => void): () => void {
    this.#ears.add(hear)
    return () => this.#ears.delete(hear)
  }

  /** No more is opened from now on; the store is let go of once `last` is over. */
  async close(last: () => Promise<void>): Promise<void> {
    const opening = this.#opening
    this.#closed = true
    await last()
    const engine = await opening?.catch(() => undefined)
    await engine?.close()
  }

  async #open(): Promise<Engine> {
    const engine = await this.#needs.make()
    const listening = engine.listen((hint) => {
      this.#needs.hear(hint)
      for (const hear of this.#ears) hear(hint)
    })
    try {
      await engine.open()
      this.#needs.opened(engine, listening)
    } catch (error) {
      listening.stop()
      // The next try makes another one; this one would keep its connections.
      if (this.#needs.own) await engine.close().catch(() => {})
      throw error
    }
    return engine
  }
}
