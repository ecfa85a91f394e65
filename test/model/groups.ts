// Groups in the model: how many runs of each group are running, when attempts began, and which group was served longest ago.
import type { Limit } from '../../src/contract/engine.ts'

interface Group {
  running: number
  /** When attempts began that a rate counts. */
  began: number[]
  /** The turn of the last attempt; 0: never served. */
  served: number
  /** A sweep may have forgotten the group's turn while the group was idle. */
  mayBeForgotten: boolean
}

export class Groups {
  readonly #groups = new Map<string, Group>()
  #turn = 0

  begin(name: string, group: string, now: number, rate: boolean): void {
    const found = this.#group(name, group)
    found.running++
    found.served = ++this.#turn
    found.mayBeForgotten = false
    if (rate) found.began.push(now)
  }

  over(name: string, group: string): void {
    this.#group(name, group).running--
  }

  swept(): void {
    for (const group of this.#groups.values()) if (group.running === 0) group.mayBeForgotten = true
  }

  /** Whether one more run of the group may begin. */
  isOpen(name: string, group: string, { running, rate }: Limit, now: number): boolean {
    const found = this.#group(name, group)
    if (running !== undefined && found.running >= running) return false
    if (rate === undefined) return true
    return found.began.filter((moment) => moment + rate.perMs > now).length < rate.max
  }

  /** Whether `one` must come before `other`: it was served longer ago, whatever a sweep has forgotten. */
  isFirst(name: string, one: string, other: string): boolean {
    const [a, b] = [this.#group(name, one), this.#group(name, other)]
    return a.served < b.served && !b.mayBeForgotten
  }

  #group(name: string, group: string): Group {
    const key = `${name} ${group}`
    let found = this.#groups.get(key)
    if (found === undefined)
      this.#groups.set(key, (found = { running: 0, began: [], served: 0, mayBeForgotten: false }))
    return found
  }
}
