// In front of `admit`: dispatches of the same tick travel as one batch, identical ones among them as one draft.

import { Batcher } from '../base/batcher.ts'
import type { Draft, Engine, Verdict } from '../contract/engine.ts'
import { shardOf } from '../contract/engine.ts'
import { keyOf } from '../values/fingerprint.ts'

export interface GatheringOptions<Each> {
  /** Batches under way at a time (2). */
  underWay?: number
  /** Whether the first of two drafts with the same params may stand for both. */
  same?: (first: Each, second: Each) => boolean
}

/** The drafts that are gathered and have not left yet. */
export class Gathering<Each extends Draft = Draft> {
  readonly #batcher: Batcher<Each, Verdict>
  readonly #same: (first: Each, second: Each) => boolean
  /**
   * By their params, which twins share: a text that is there is found faster than one cut from an id. A new map for each batch: one that
   * is cleared leaves a table behind that points to the next, and a chain of them keeps all drafts from being collected young.
   */
  #drafts = new Map<string, { draft: Each; verdict: Promise<Verdict> }>()

  constructor(
    admit: (drafts: Each[]) => Promise<readonly (Verdict | PromiseLike<Verdict>)[]>,
    { same = sameAsk, ...options }: GatheringOptions<Each> = {},
  ) {
    this.#same = same
    this.#batcher = new Batcher((drafts) => {
      // Usually all of them leave. Should some stay behind, they are no longer found by their twins: a draft more to send.
      if (drafts.length >= this.#drafts.size) this.#drafts = new Map()
      else for (const draft of drafts) this.#drafts.delete(draft.params)
      return admit(drafts)
    }, options)
  }

  admit(draft: Each): Promise<Verdict> {
    const twin = this.#drafts.get(draft.params)
    if (twin !== undefined && this.#same(twin.draft, draft)) {
      if (draft.watch) twin.draft.watch = true
      return twin.verdict.then(asSecond)
    }
    const verdict = this.#batcher.add(draft)
    if (twin === undefined && draft.then === undefined) this.#drafts.set(draft.params, { draft, verdict })
    return verdict
  }
}

export class Dispatcher {
  readonly #engine: () => Promise<Engine>
  readonly #all: Gathering
  /** By shard, where the store has several: a batch is then one command, and waits for no other shard. One at a time, for they overlap each other. */
  readonly #byShard: Gathering[] = []
  #shards = 1

  constructor(engine: () => Promise<Engine>) {
    this.#engine = engine
    this.#all = new Gathering((drafts) => this.#admit(drafts))
  }

  /** Takes each draft once: a caller that asks again makes a new one. */
  admit(draft: Draft, tx?: unknown): Promise<Verdict> {
    if (tx !== undefined) return this.#admitWithin(draft, tx)
    draft.firstSend = true
    if (this.#shards === 1) return this.#all.admit(draft)
    const shard = shardOf(draft.id, this.#shards)
    return (this.#byShard[shard] ??= new Gathering((drafts) => this.#admit(drafts), { underWay: 1 })).admit(
      draft,
    )
  }

  async #admit(drafts: readonly Draft[]): Promise<readonly Verdict[]> {
    const engine = await this.#engine()
    this.#shards = engine.shards
    return await engine.admit(drafts)
  }

  /** By itself, for the other dispatches of the tick are no part of the caller's transaction. */
  async #admitWithin(draft: Draft, tx: unknown): Promise<Verdict> {
    const engine = await this.#engine()
    const [verdict] = await engine.admit([draft], { tx })
    return verdict as Verdict
  }
}

/** Of two with the same params, whether the store would have nothing to add to the first from the second. */
export function sameAsk(first: Draft, second: Draft): boolean {
  return (
    second.then === undefined &&
    first.policy === second.policy &&
    first.name === second.name &&
    first.queue === second.queue &&
    first.priority === second.priority &&
    first.delayMs === second.delayMs &&
    first.dueAt === second.dueAt &&
    first.extra === second.extra &&
    first.refresh === second.refresh &&
    first.onMismatch === second.onMismatch &&
    first.attended === second.attended &&
    first.onDuplicate === undefined &&
    second.onDuplicate === undefined &&
    keyOf(first.id) === keyOf(second.id)
  )
}

const asSecond = (verdict: Verdict): Verdict =>
  verdict.outcome === 'created' ? { ...verdict, outcome: 'joined' } : verdict
