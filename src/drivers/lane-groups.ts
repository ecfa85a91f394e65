// Groups of runs: how many of each run, when their attempts began, and which was served longest ago.
import type { Limit } from '../contract/engine.ts'

interface Group {
  running: number
  /** When attempts began, oldest first, as far back as the rate counts. */
  began: number[]
  /** From this moment on the rate depends on no earlier attempt. */
  idleAt: number
  served: number
}

export class Groups {
  readonly #groups = new Map<string, Group>()
  #served = 0

  /** The turn in which the group was served last; the lower, the longer ago. */
  served(name: string, group: string): number {
    return this.#groups.get(keyOf(name, group))?.served ?? 0
  }

  /** When one more may begin: now, at a later moment, or once one of those that run has ended (Infinity). */
  opensAt(name: string, group: string, { running, rate }: Limit, now: number): number {
    const found = this.#groups.get(keyOf(name, group))
    if (found === undefined) return now
    if (running !== undefined && found.running >= running) return Number.POSITIVE_INFINITY
    if (rate === undefined) return now
    while (found.began.length > 0 && (found.began[0] as number) + rate.perMs <= now) found.began.shift()
    const oldest = found.began.at(-rate.max)
    return oldest === undefined ? now : oldest + rate.perMs
  }

  begin(name: string, group: string, limit: Limit | undefined, now: number): void {
    const key = keyOf(name, group)
    let found = this.#groups.get(key)
    if (found === undefined)
      this.#groups.set(key, (found = { running: 0, began: [], idleAt: now, served: 0 }))
    found.running++
    found.served = ++this.#served
    if (limit?.rate === undefined) return
    found.began.push(now)
    found.idleAt = Math.max(found.idleAt, now + limit.rate.perMs)
  }

  over(name: string, group: string): void {
    const found = this.#groups.get(keyOf(name, group))
    if (found !== undefined) found.running--
  }

  forgetIdle(now: number): void {
    for (const [key, { running, idleAt }] of this.#groups) {
      if (running === 0 && idleAt <= now) this.#groups.delete(key)
    }
  }
}

const keyOf = (name: string, group: string): string => `${name}\0${group}`
