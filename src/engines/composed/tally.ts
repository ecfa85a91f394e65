// The kept counters: changed in the same write as the runs they count, spread over documents so that changes seldom meet.
import { environment } from '../../base/environment.ts'
import type { Counts, Total } from '../../contract/engine.ts'
import type { Read, Write } from '../../drivers/keyv.ts'
import type { Step } from './decisions.ts'
import type { Names } from './document-store.ts'
import { readTally } from './document-store.ts'

// Each change holds the lock of one of them: with eight at a time, two meet in one of ten.
export const SHARDS = 64

export class Tallies {
  readonly #names: Names
  readonly #busy = new Set<number>()
  /** Answers that changed nothing else (hits): carried along by the next write. */
  #uncounted: Partial<Record<Total, number>> = {}

  constructor(names: Names) {
    this.#names = names
  }

  /** A document that nobody here is changing just now. */
  take(): number {
    let shard = Math.floor(environment.random() * SHARDS)
    for (let tries = 0; this.#busy.has(shard) && tries < SHARDS; tries++) shard = (shard + 1) % SHARDS
    this.#busy.add(shard)
    return shard
  }

  giveBack(shard: number): void {
    this.#busy.delete(shard)
  }

  later(totals: Step['totals']): void {
    for (const [total, count] of Object.entries(totals)) {
      this.#uncounted[total as Total] = (this.#uncounted[total as Total] ?? 0) + count
    }
  }

  get pending(): boolean {
    return Object.keys(this.#uncounted).length > 0
  }

  /** What is carried along by a write; hand it to `later` again if that fails. */
  carry(): Step['totals'] {
    const carried = this.#uncounted
    this.#uncounted = {}
    return carried
  }

  write(shard: number, text: Read, step: Step, carried: Step['totals']): Write | undefined {
    const tally = readTally(typeof text === 'string' ? text : undefined)
    let changed = false
    for (const totals of [step.totals, carried]) {
      for (const [total, count] of Object.entries(totals)) {
        tally.totals[total] = (tally.totals[total] ?? 0) + count
        changed = true
      }
    }
    for (const [lane, [queue, name, pending, running]] of step.lanes) {
      if (pending === 0 && running === 0) continue
      const [, , p = 0, r = 0] = tally.lanes[lane] ?? []
      tally.lanes[lane] = [queue, name, p + pending, r + running]
      if (p + pending === 0 && r + running === 0) delete tally.lanes[lane]
      changed = true
    }
    return changed ? { key: this.#names.tally(shard), value: JSON.stringify(tally) } : undefined
  }

  static sum(texts: readonly Read[]): Omit<Counts, 'paused'> {
    const totals: Counts['totals'] = {}
    const lanes = new Map<string, Counts['lanes'][number]>()
    for (const text of texts) {
      if (typeof text !== 'string') continue
      const tally = readTally(text)
      for (const [total, count] of Object.entries(tally.totals)) {
        totals[total as Total] = (totals[total as Total] ?? 0) + count
      }
      for (const [key, [queue, name, pending, running]] of Object.entries(tally.lanes)) {
        const lane = lanes.get(key) ?? { queue, name, pending: 0, running: 0 }
        lane.pending += pending
        lane.running += running
        lanes.set(key, lane)
      }
    }
    return { lanes: [...lanes.values()].filter(({ pending, running }) => pending > 0 || running > 0), totals }
  }
}
