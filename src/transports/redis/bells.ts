// Waits for a queue to hold something, whoever puts it there, and takes nothing in doing so.
import type { Redis } from 'ioredis'
import { sleep } from '../../base/time.ts'
import type { Connection } from '../../drivers/redis-connection.ts'

/** Each queue that is waited for needs a connection; the queues beyond are looked at in turns. */
export const MAX_BELLS = 8
const PAUSE_MS = 500

export interface BellsOptions {
  connect(): Connection
  /** How long one command blocks: less than what the connection takes for a broken one. */
  blockMs: number
  trouble(error: unknown): void
}

export class Bells {
  readonly #options: BellsOptions
  readonly #bells = new Map<string, Bell>()

  constructor(options: BellsOptions) {
    this.#options = options
  }

  /** Calls `ring` once one of the keys holds something; answers how to stop. */
  listen(keys: readonly string[], ring: () => void): () => void {
    const listened: Bell[] = []
    for (const key of new Set(keys)) {
      let bell = this.#bells.get(key)
      if (bell === undefined && this.#bells.size >= MAX_BELLS) this.#dropIdle()
      if (bell === undefined && this.#bells.size < MAX_BELLS) {
        this.#bells.set(key, (bell = new Bell(key, this.#options)))
      }
      if (bell !== undefined) listened.push(bell)
    }
    for (const bell of listened) bell.listen(ring)
    return () => {
      for (const bell of listened) bell.forget(ring)
    }
  }

  close(): void {
    for (const bell of this.#bells.values()) bell.close()
    this.#bells.clear()
  }

  #dropIdle(): void {
    for (const [key, bell] of this.#bells) {
      if (!bell.idle) continue
      bell.close()
      this.#bells.delete(key)
      return
    }
  }
}

class Bell {
  readonly #key: string
  readonly #options: BellsOptions
  readonly #connection: Connection
  readonly #listeners = new Set<() => void>()
  #blocking = false
  #closed = false

  constructor(key: string, options: BellsOptions) {
    this.#key = key
    this.#options = options
    this.#connection = options.connect()
  }

  get idle(): boolean {
    return this.#listeners.size === 0
  }

  listen(ring: () => void): void {
    this.#listeners.add(ring)
    if (!this.#blocking) void this.#block()
  }

  forget(ring: () => void): void {
    this.#listeners.delete(ring)
  }

  close(): void {
    this.#closed = true
    this.#listeners.clear()
    this.#connection.close()
  }

  // The head of the list is moved onto itself: the command blocks until there is one, and leaves everything where it is.
  // So nothing can get lost between the one who waits and the one who takes, which a plain BLMOVE or BLPOP allows.
  async #block(): Promise<void> {
    this.#blocking = true
    const seconds = this.#options.blockMs / 1_000
    while (this.#listeners.size > 0 && !this.#closed) {
      try {
        const head = await this.#connection.command((client) =>
          (client as Redis).blmoveBuffer(this.#key, this.#key, 'LEFT', 'LEFT', seconds),
        )
        if (head === null) continue
        const woken = [...this.#listeners]
        this.#listeners.clear()
        for (const ring of woken) ring()
      } catch (error) {
        if (this.#closed) break
        this.#options.trouble(error)
        await sleep(PAUSE_MS)
      }
    }
    this.#blocking = false
  }
}
