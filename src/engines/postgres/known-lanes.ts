// The lanes that this instance has made already, so that a draft within somebody's transaction makes none twice.
import type { Draft } from '../../contract/engine.ts'
import { columnOf } from './arguments.ts'

const MOST_KNOWN = 1_000

export class KnownLanes {
  readonly #known = new Set<string>()

  /** The lanes of these drafts that are not known yet, each as JSON. */
  unknownOf(drafts: readonly Draft[]): string[] {
    const lanes = drafts.map(({ name, queue, priority, group }) =>
      JSON.stringify([name, queue, priority, columnOf(group)]),
    )
    return [...new Set(lanes)].filter((lane) => !this.#known.has(lane))
  }

  learn(lanes: readonly string[]): void {
    if (this.#known.size > MOST_KNOWN) this.#known.clear()
    for (const lane of lanes) this.#known.add(lane)
  }
}
