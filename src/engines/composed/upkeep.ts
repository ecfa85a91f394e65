// Upkeep of a composed engine beside its verbs: it writes counts down, and removes expired documents.
import { sleep } from '../../base/time.ts'
import { expiredIn, idleGatesIn } from './overview.ts'
import type { Parts, Transactions } from './transactions.ts'

const FLUSH_MS = 1_000
const CLEAR_MS = 600_000
/** How many keys one transaction holds. */
export const KEYS_AT_ONCE = 200

export class Upkeep {
  readonly #parts: Parts
  readonly #transactions: Transactions
  #clearAt: number

  constructor(parts: Parts, transactions: Transactions) {
    this.#parts = parts
    this.#transactions = transactions
    this.#clearAt = parts.now() + CLEAR_MS
  }

  /** Writes the counts down once a second, until the signal aborts. */
  async flushing(signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(FLUSH_MS, signal)
      if (signal.aborted) return
      await this.flush().catch(() => {})
    }
  }

  async flush(): Promise<void> {
    if (this.#parts.tallies.pending) await this.#transactions.run({ of: [] }, () => {})
  }

  /** A store that does not clear away by itself is gone through every now and then. Answers how many runs were removed. */
  async clear(): Promise<number> {
    const { tasks, names, now } = this.#parts
    if (tasks.forgets || !tasks.scannable || now() < this.#clearAt) return 0
    this.#clearAt = now() + CLEAR_MS
    const ids = await expiredIn(tasks, names, now())
    const gates = await idleGatesIn(tasks, names, now())
    for (let at = 0; at < gates.length; at += KEYS_AT_ONCE) {
      const some = gates.slice(at, at + KEYS_AT_ONCE)
      await this.#transactions.run({ of: some, counted: false }, (step) => {
        for (const id of some) step.table.gate(id).clear(step.now)
      })
    }
    let cleared = 0
    for (let at = 0; at < ids.length; at += KEYS_AT_ONCE) {
      const some = ids.slice(at, at + KEYS_AT_ONCE)
      cleared += await this.#transactions.run(
        { of: some, counted: false },
        (step) => some.filter((id) => step.forget(id)).length,
      )
    }
    return cleared
  }
}
