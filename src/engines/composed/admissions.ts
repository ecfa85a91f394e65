// Admission: what changes nothing is answered after a look, without a lock; the rest is decided under the locks of its keys.
import type { Draft, Verdict } from '../../contract/engine.ts'
import { KEY_LENGTH } from '../../contract/engine.ts'
import type { Parts, Transactions } from './transactions.ts'

// A look is wasted where all is new: then it is left out, but for one time in eight, to learn of a change.
const MOSTLY_NEW = 0.95
const LOOK_EVERY = 8

export class Admissions {
  readonly #parts: Parts
  readonly #transactions: Transactions
  /** How many of the last drafts were created, and how often drafts came at all. */
  #newShare = 0
  #count = 0

  constructor(parts: Parts, transactions: Transactions) {
    this.#parts = parts
    this.#transactions = transactions
  }

  async admit(drafts: readonly Draft[]): Promise<Verdict[]> {
    const looking = this.#newShare < MOSTLY_NEW || ++this.#count % LOOK_EVERY === 0
    const verdicts = looking ? await this.#lookFirst(drafts) : await this.#decide(drafts)
    const created = verdicts.filter(({ outcome }) => outcome === 'created').length
    this.#newShare += 0.2 * (created / Math.max(1, drafts.length) - this.#newShare)
    return verdicts
  }

  #decide(drafts: readonly Draft[]): Promise<Verdict[]> {
    return this.#transactions.run({ of: drafts.map(({ id }) => id) }, (step) =>
      drafts.map((draft) => step.admit(draft)),
    )
  }

  async #lookFirst(drafts: readonly Draft[]): Promise<Verdict[]> {
    const { tallies } = this.#parts
    const { answer: seen } = await this.#transactions.look(
      drafts.map(({ id }) => id),
      (step) =>
        drafts.map((draft) => {
          const before = { changes: step.table.changes, counted: step.counted }
          const verdict = step.admit(draft)
          return {
            verdict,
            changed: step.table.changes > before.changes,
            counted: step.counted > before.counted,
          }
        }),
    )
    // Drafts of one key are decided together, in their order.
    const keyAt = (index: number): string => (drafts[index] as Draft).id.slice(0, KEY_LENGTH)
    const changing = new Set(seen.flatMap(({ changed }, index) => (changed ? [keyAt(index)] : [])))
    const verdicts = seen.map(({ verdict }) => verdict)
    const again: number[] = []
    for (const [index, { verdict, counted }] of seen.entries()) {
      if (changing.has(keyAt(index))) again.push(index)
      else if (counted) tallies.later({ [verdict.outcome]: 1 })
    }
    if (again.length === 0) return verdicts
    const decided = await this.#decide(again.map((index) => drafts[index] as Draft))
    for (const [at, index] of again.entries()) verdicts[index] = decided[at] as Verdict
    return verdicts
  }
}
