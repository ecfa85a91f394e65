// Learns of the ends of runs by requests that the interface answers once one of them has ended.

import { environment } from '../base/environment.ts'
import { isDeferqError } from '../base/errors.ts'
import type { Hint } from '../contract/engine.ts'
import { MAX_BATCH } from '../contract/engine.ts'
import type { Calls } from './calls.ts'
import type { Run } from './wire.ts'

/** Longer than the interface holds a request. */
const WAIT_MS = 40_000
/** Requests held at a time. One more takes the place of the oldest, and its ids. */
const MOST = 4
const PAUSE_MS = 1_000

interface HeldRequest {
  ids: readonly string[]
  ending: AbortController
}

export class Wakes {
  readonly #calls: Calls
  readonly #hear: (hint: Hint) => void
  readonly #held: HeldRequest[] = []
  #gathered = new Set<string>()
  #scheduled = false
  #closed = false

  constructor(calls: Calls, hear: (hint: Hint) => void) {
    this.#calls = calls
    this.#hear = hear
  }

  add(ids: readonly string[]): void {
    for (const id of ids) {
      if (!this.#held.some((held) => held.ids.includes(id))) this.#gathered.add(id)
    }
    if (this.#gathered.size === 0 || this.#scheduled || this.#closed) return
    this.#scheduled = true
    queueMicrotask(() => this.#begin())
  }

  close(): void {
    this.#closed = true
    this.#gathered.clear()
    for (const { ending } of this.#held) ending.abort()
  }

  #begin(): void {
    this.#scheduled = false
    if (this.#held.length >= MOST) {
      const oldest = this.#held.shift() as HeldRequest
      for (const id of oldest.ids) this.#gathered.add(id)
      oldest.ending.abort()
    }
    const ids = [...this.#gathered].slice(0, MAX_BATCH)
    // Polling finds the ends of those over the bound.
    this.#gathered.clear()
    if (ids.length > 0 && !this.#closed) void this.#hold({ ids, ending: new AbortController() })
  }

  async #hold(held: HeldRequest): Promise<void> {
    this.#held.push(held)
    const begun = environment.monotonic()
    let ended: { id: string; run?: Run }[] = []
    try {
      const reply = await this.#calls.post<{ ended: typeof ended }>(
        '/waits',
        { ids: held.ids },
        { timeoutMs: WAIT_MS, signal: held.ending.signal },
      )
      ended = reply.ended
    } catch (error) {
      // Merged with others, or closed. Otherwise the waits poll, and hear that the interface is away.
      if (held.ending.signal.aborted) return
      if (!isDeferqError(error, 'STORE_UNAVAILABLE')) return this.#drop(held)
    }
    this.#drop(held)
    const over = new Set(ended.map(({ id }) => id))
    for (const { id, run } of ended)
      this.#hear(run === undefined ? { kind: 'ended', id } : { kind: 'ended', id, run })
    const left = held.ids.filter((id) => !over.has(id))
    // An interface that fails, or holds requests briefly, is not asked without end.
    const soon = over.size === 0 && environment.monotonic() - begun < PAUSE_MS
    if (soon) environment.setTimeout(() => this.add(left), PAUSE_MS).unref()
    else this.add(left)
  }

  #drop(held: HeldRequest): void {
    const at = this.#held.indexOf(held)
    if (at >= 0) this.#held.splice(at, 1)
  }
}
