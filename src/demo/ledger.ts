// The app's own book of what its dispatches came to, by run: receipts say it, and no store keeps it.
import type { Dispatched } from '../index.ts'
import type { Made, Wanted } from './report.ts'

export type Outcomes = Partial<Record<Dispatched['outcome'], number>>

const MOST_RUNS = 1_000

export class Ledger {
  readonly #runs = new Map<string, { wanted: Wanted; outcomes: Outcomes }>()
  readonly totals: Outcomes & { requests: number } = { requests: 0 }

  note({ taskId, outcome }: Dispatched<Made>, wanted: Wanted): void {
    let run = this.#runs.get(taskId)
    if (run === undefined) {
      this.#runs.set(taskId, (run = { wanted, outcomes: {} }))
      const [oldest] = this.#runs.keys()
      if (this.#runs.size > MOST_RUNS) this.#runs.delete(oldest as string)
    }
    run.outcomes[outcome] = (run.outcomes[outcome] ?? 0) + 1
    this.totals[outcome] = (this.totals[outcome] ?? 0) + 1
    this.totals.requests++
  }

  of(taskId: string): { wanted: Wanted; outcomes: Outcomes } | undefined {
    return this.#runs.get(taskId)
  }
}
