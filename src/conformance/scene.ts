// What every conformance case works with: a fresh store, connections to it, and short ways to say what happens.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import type {
  AttemptOutcome,
  Claimed,
  Draft,
  Engine,
  Entry,
  Filter,
  FollowUp,
  Hint,
  Policy,
  Verdict,
  Want,
} from '../contract/engine.ts'

/** One store, empty at first, and as many connections to it as a case asks for. */
export interface Harness {
  /** A further, opened connection to the same store. */
  connect(): Promise<Engine>
  /** Moves the store's clock on by at least `ms`: an injected clock is set, for a real one this sleeps. */
  advance(ms: number): Promise<void>
  /**
   * How long, by the store's clock, a handful of calls may take at the most. The cases count time in this unit: small
   * (1,000) costs nothing with an injected clock; with a real one 250 keeps the suite quick.
   */
  unitMs: number
  /** False: of equal priority and due time, another order than that of admission may hold once a run was delayed or released. */
  firstInFirstOut?: false
  /** False: a run that waited behind another may come after runs that are due later. */
  ordersByDueTime?: false
  /** Damages the stored run, so that it can't be read; left out where a store has no way to hold such a thing. */
  corrupt?(id: string): Promise<void>
  close(): Promise<void>
}

export interface Factory {
  name: string
  create(): Promise<Harness>
}

export type Cases = Record<string, (scene: Scene) => Promise<void>>

/** In units: how long everything lives that is given no other time. */
const LONG = 40
const NO_TIME: Policy = { maxAttempts: 3, resultTtlMs: 0, staleTtlMs: 0, failureTtlMs: 0, retentionMs: 0 }

export class Scene {
  readonly #harness: Harness
  readonly #opened: Engine[] = []
  readonly #unitMs: number
  #hasMoments = false
  #longestMs = 0
  readonly #beganAt = performance.now()
  #at = this.#beganAt
  engine!: Engine

  private constructor(harness: Harness, slower: number) {
    this.#harness = harness
    this.#unitMs = harness.unitMs * slower
  }

  /** `slower`: in units so many times as long. */
  static async set(factory: Factory, slower = 1): Promise<Scene> {
    const scene = new Scene(await factory.create(), slower)
    scene.engine = await scene.connect()
    return scene
  }

  /** Whether the calls between two waits, or all, took so long that what was to come before a moment may have come after it. */
  get missedItsMoment(): boolean {
    this.#passed(0)
    const lasted = performance.now() - this.#beganAt
    // Half a unit: two stretches in a row may be late together.
    return (this.#hasMoments && this.#longestMs > this.#unitMs / 2) || lasted > this.#ms(LONG)
  }

  /** Since the last wait, beyond what was asked for. */
  #passed(expectedMs: number): void {
    const now = performance.now()
    this.#longestMs = Math.max(this.#longestMs, now - this.#at - expectedMs)
    this.#at = now
  }

  async strike(): Promise<void> {
    try {
      for (const engine of this.#opened) await engine.close()
    } finally {
      await this.#harness.close()
    }
  }

  async connect(): Promise<Engine> {
    const engine = await this.#harness.connect()
    this.#opened.push(engine)
    return engine
  }

  connections(count: number): Promise<Engine[]> {
    return Promise.all(Array.from({ length: count }, () => this.connect()))
  }

  async pair(): Promise<[Engine, Engine]> {
    return [await this.connect(), await this.connect()]
  }

  /** `count` units of time, in milliseconds. */
  units(count: number): number {
    this.#hasMoments = true
    return this.#ms(count)
  }

  #ms(count: number): number {
    return Math.round(this.#unitMs * count)
  }

  async advance(units: number): Promise<void> {
    // A little more than asked for, so that a store which rounds to milliseconds is past the moment.
    const ms = this.#ms(units) + 5
    this.#passed(0)
    await this.#harness.advance(ms)
    this.#hasMoments = true
    this.#passed(ms)
  }

  get firstInFirstOut(): boolean {
    return this.#harness.firstInFirstOut !== false
  }

  get ordersByDueTime(): boolean {
    return this.#harness.ordersByDueTime !== false
  }

  get canCorrupt(): boolean {
    return this.#harness.corrupt !== undefined
  }

  corrupt(id: string): Promise<void> {
    return (this.#harness.corrupt as (id: string) => Promise<void>)(id)
  }

  policy(policy: Partial<Policy> = {}): Policy {
    return { ...NO_TIME, resultTtlMs: this.#ms(LONG), retentionMs: this.#ms(LONG), ...policy }
  }

  draft(draft: Omit<Partial<Draft>, 'policy'> & { key?: string; policy?: Partial<Policy> } = {}): Draft {
    const { key = newKey(), policy, ...rest } = draft
    return {
      id: key + newRun(),
      name: 'job',
      queue: 'default',
      params: '{}',
      priority: 0,
      delayMs: 0,
      ...rest,
      policy: this.policy(policy),
    }
  }

  /** A follow-up that lies in the shard of `parentKey`. */
  followUp(parentKey: string, on: FollowUp['on'], draft: Omit<Partial<Draft>, 'policy'> = {}): FollowUp {
    return {
      on,
      draft: this.draft({ name: 'after', key: parentKey.slice(0, 8) + newKey().slice(8), ...draft }),
    }
  }

  async admit(draft: Draft, engine = this.engine): Promise<Verdict> {
    const verdicts = await engine.admit([draft])
    assert.equal(verdicts.length, 1)
    return verdicts[0] as Verdict
  }

  want(want: Partial<Want> = {}): Want {
    return { names: ['job'], limit: 1, leaseMs: this.#ms(LONG), ...want }
  }

  async claim(want: Partial<Want> = {}, engine = this.engine): Promise<Claimed[]> {
    return (await engine.claim(this.want(want))).claimed
  }

  /** The one task that must be there. */
  async claimOne(want: Partial<Want> = {}, engine = this.engine): Promise<Claimed> {
    const claimed = await this.claim(want, engine)
    assert.equal(claimed.length, 1, 'one task should be claimable')
    return claimed[0] as Claimed
  }

  async settle(outcome: AttemptOutcome, engine = this.engine): Promise<string> {
    const { answers } = await engine.settle([outcome])
    assert.equal(answers.length, 1)
    return answers[0] as string
  }

  complete(claim: Claimed, result = '"done"', engine = this.engine): Promise<string> {
    const { entry, token } = claim
    return this.settle({ id: entry.id, token, kind: 'completed', result, claim }, engine)
  }

  fail(
    { entry, token }: Claimed,
    error = '{"error":{"message":"broken"}}',
    engine = this.engine,
  ): Promise<string> {
    return this.settle({ id: entry.id, token, kind: 'failed', error }, engine)
  }

  /** Admits, claims and completes. */
  async completed(draft: Draft, result = '"done"'): Promise<void> {
    await this.admit(draft)
    assert.equal(await this.complete(await this.claimOne({ names: [draft.name] }), result), 'settled')
  }

  async failed(draft: Draft, error?: string): Promise<void> {
    await this.admit(draft)
    assert.equal(await this.fail(await this.claimOne({ names: [draft.name] }), error), 'settled')
  }

  async read(id: string, engine = this.engine): Promise<Entry> {
    const [entry] = await engine.read([id])
    assert.ok(entry, `the run ${id.slice(0, 8)}…${id.slice(64)} should be readable`)
    return entry
  }

  /** The ids of all that match, sorted; a page may hold fewer than there are. */
  async listed(filter: Filter): Promise<string[]> {
    const ids: string[] = []
    let cursor: string | undefined
    for (let page = 0; page < 1_000; page++) {
      const { entries, cursor: next } = await this.engine.list(filter, cursor)
      ids.push(...entries.map(({ id }) => id))
      if (next === undefined) return ids.sort()
      cursor = next
    }
    return assert.fail('the list has no end')
  }

  async gone(id: string): Promise<boolean> {
    return (await this.engine.read([id]))[0] === undefined
  }
}

export const newKey = (): string => createHash('sha256').update(randomBytes(16)).digest('hex')
export const newRun = (): string => randomBytes(12).toString('hex')
export const keyOf = (draft: { id: string }): string => draft.id.slice(0, 64)

/** What did not come about in a time that is enough on any machine. */
export class NotSo extends Error {}

/** Waits for something that hints or other connections bring about; fails with what was expected. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 5_000,
): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > end) throw new NotSo(`${what}: not so within ${timeoutMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Keeps what an engine tells. */
export function hearing(engine: Engine): { hints: Hint[]; heard(kind: Hint['kind'], id?: string): boolean } {
  const hints: Hint[] = []
  engine.listen((hint) => hints.push(hint))
  return {
    hints,
    heard: (kind, id) =>
      hints.some(
        (hint) =>
          hint.kind === 'changed' ||
          (hint.kind === kind && (id === undefined || ('id' in hint && hint.id === id))),
      ),
  }
}

/** Whether this connection hears what other connections do. */
export function hears(engine: Engine): boolean {
  const listening = engine.listen(() => {})
  try {
    return listening.hears()
  } finally {
    listening.stop()
  }
}
