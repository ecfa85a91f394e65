// Hints within this process: who watches which run, and who works on it. Between processes polling tells the same.
import type { Hint, Selector, Standing } from '../../contract/engine.ts'
import { KEY_LENGTH } from '../../contract/engine.ts'

export interface Hearing {
  hear(hint: Hint): void
}

// A wait that was given up leaves its watch behind; the oldest are dropped above this.
const MOST_WATCHED = 20_000

const hubs = new Map<string, Hub>()

/** Engines of one process under one prefix hear of each other. */
export function hubOf(prefix: string): Hub {
  let hub = hubs.get(prefix)
  if (hub === undefined) hubs.set(prefix, (hub = new Hub()))
  return hub
}

export class Hub {
  readonly #engines = new Set<Hearing>()
  /** By id; by key while it is not known yet which run will answer. */
  readonly #watchers = new Map<string, Hearing[]>()
  readonly #runners = new Map<string, Hearing>()

  join(engine: Hearing): void {
    this.#engines.add(engine)
  }

  leave(engine: Hearing): void {
    this.#engines.delete(engine)
    for (const [id, watchers] of this.#watchers) if (watchers.includes(engine)) this.unwatch(id, engine)
    for (const [id, runner] of this.#runners) if (runner === engine) this.#runners.delete(id)
  }

  /** Before the run is looked up, so that no end falls in between. */
  watch(idOrKey: string, engine: Hearing): void {
    const watchers = this.#watchers.get(idOrKey) ?? []
    if (idOrKey.length === KEY_LENGTH || !watchers.includes(engine)) watchers.push(engine)
    this.#watchers.set(idOrKey, watchers)
    if (this.#watchers.size <= MOST_WATCHED) return
    const [oldest] = this.#watchers.keys()
    this.#watchers.delete(oldest as string)
  }

  unwatch(idOrKey: string, engine: Hearing): void {
    const watchers = this.#watchers.get(idOrKey)
    const at = watchers?.indexOf(engine) ?? -1
    if (watchers === undefined || at < 0) return
    watchers.splice(at, 1)
    if (watchers.length === 0) this.#watchers.delete(idOrKey)
  }

  claimed(id: string, engine: Hearing): void {
    this.#runners.set(id, engine)
  }

  settled(id: string): void {
    this.#runners.delete(id)
  }

  ended(run: Standing): void {
    const { id } = run
    this.#runners.delete(id)
    const told = [this.#watchers.get(id) ?? [], this.#watchers.get(id.slice(0, KEY_LENGTH)) ?? []].flat()
    this.#watchers.delete(id)
    for (const engine of new Set(told)) engine.hear({ kind: 'ended', id, run })
  }

  cancelled(id: string): void {
    this.#runners.get(id)?.hear({ kind: 'cancelled', id })
    this.#runners.delete(id)
  }

  invalidated(selector: Selector): void {
    for (const engine of this.#engines) engine.hear({ kind: 'invalidated', selector })
  }

  /** What was paused may be claimed. */
  resumed(): void {
    for (const engine of this.#engines) engine.hear({ kind: 'work' })
  }
}
