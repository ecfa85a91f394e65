// Results above a size lie in a Keyv store, and the engine keeps a reference: any engine, with large results elsewhere.

import { createHash } from 'node:crypto'
import { environment } from '../base/environment.ts'
import type {
  AttemptOutcome,
  CancelAnswer,
  Claimed,
  Claims,
  Counts,
  Draft,
  Engine,
  Entry,
  Filter,
  Hint,
  Lanes,
  Lease,
  LeaseAnswer,
  Listening,
  Page,
  Policy,
  PromoteAnswer,
  Selector,
  Settled,
  Standing,
  Swept,
  Verdict,
  Want,
  WriteOptions,
} from '../contract/engine.ts'
import { isReference, REFERENCE } from '../values/decode.ts'
import type { KeyvLike } from './keyv.ts'
import { Keyed } from './keyv.ts'

export interface OffloadOptions {
  store: KeyvLike
  /** Results of more bytes than this lie in the store. */
  above: number
  prefix?: string
}

type Values = ReadonlyMap<string, string>
type Completed = AttemptOutcome & { kind: 'completed' }

// The engine decides how long a result counts; clocks differ, and joining can lengthen the retention in the last moment.
const GRACE_MS = 600_000
const READ_AT_ONCE = 100
const CLEAR_MS = 600_000

/** A run whose value has gone from the store has gone as well: it reads as unknown, and is run anew when it is dispatched. */
export class Offload implements Engine {
  readonly name: string
  readonly caveats: readonly string[]
  readonly #engine: Engine
  readonly #store: Keyed
  readonly #above: number
  readonly #prefix: string
  /** A moment of the monotonic clock. */
  #clearAt = environment.monotonic() + CLEAR_MS
  #closed: Promise<void> | undefined

  constructor(engine: Engine, { store, above, prefix = 'deferq' }: OffloadOptions) {
    this.#engine = engine
    this.#store = new Keyed(store, 'results')
    this.#above = above
    this.#prefix = `${REFERENCE}${prefix}.result.`
    this.name = engine.name
    this.caveats = engine.caveats
  }

  open(): Promise<void> {
    return this.#engine.open()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  get shards(): number {
    return this.#engine.shards
  }

  async admit(drafts: readonly Draft[], options?: WriteOptions): Promise<Verdict[]> {
    const verdicts = await this.#engine.admit(drafts, options)
    const values = await this.#values(verdicts.map(({ entry }) => entry.result))
    const answers = verdicts.map((verdict) => this.#resolved(verdict, verdict.entry, values))
    const gone = answers.flatMap((answer, index) => (answer === undefined ? [index] : []))
    if (gone.length > 0) {
      // Their follow-ups were admitted when they were answered.
      const anew = gone.map(
        (index): Draft => ({ ...(drafts[index] as Draft), refresh: true, then: [], firstSend: false }),
      )
      const again = await this.#engine.admit(anew, options)
      for (const [at, index] of gone.entries()) answers[index] = again[at]
    }
    return answers as Verdict[]
  }

  async claim(want: Want): Promise<Claims> {
    return this.#claims(await this.#engine.claim(want))
  }

  async settle(outcomes: readonly AttemptOutcome[], want?: Want, options?: WriteOptions): Promise<Settled> {
    const large = outcomes.filter((outcome): outcome is Completed => this.#isLarge(outcome))
    if (large.length === 0) {
      const { answers, ...claims } = await this.#engine.settle(outcomes, want, options)
      return { answers, ...(await this.#claims(claims)) }
    }
    const references = await this.#put(large)
    const { answers, ...claims } = await this.#engine.settle(
      outcomes.map((outcome) => {
        const result = references.get(outcome as Completed)
        return result === undefined ? outcome : { ...(outcome as Completed), result }
      }),
      want,
      options,
    )
    // What was refused is nobody's result. It would also be cleared away in its time.
    const refused = outcomes.flatMap((outcome, index) => {
      const reference = references.get(outcome as Completed)
      return answers[index] === 'lost' && reference !== undefined ? [keyOf(reference)] : []
    })
    await this.#store.remove(refused).catch(() => {})
    return { answers, ...(await this.#claims(claims)) }
  }

  extend(leases: readonly Lease[], leaseMs: number): Promise<LeaseAnswer[]> {
    return this.#engine.extend(leases, leaseMs)
  }

  async sweep(limit: number): Promise<Swept> {
    const swept = await this.#engine.sweep(limit)
    await this.#clear()
    return swept
  }

  async read(ids: readonly string[], watch?: boolean): Promise<(Entry | undefined)[]> {
    const entries = await this.#engine.read(ids, watch)
    const values = await this.#values(entries.flatMap((entry) => textsOf(entry)))
    return entries.map((entry) => entry && this.#entry(entry, values))
  }

  cancel(ids: readonly string[], reason?: string, options?: WriteOptions): Promise<CancelAnswer[]> {
    return this.#engine.cancel(ids, reason, options)
  }

  promote(ids: readonly string[], priority?: number, options?: WriteOptions): Promise<PromoteAnswer[]> {
    return this.#engine.promote(ids, priority, options)
  }

  invalidate(selector: Selector, options?: WriteOptions): Promise<number> {
    return this.#engine.invalidate(selector, options)
  }

  pause(lanes: Lanes, paused: boolean): Promise<void> {
    return this.#engine.pause(lanes, paused)
  }

  async list(filter: Filter, cursor?: string): Promise<Page> {
    const page = await this.#engine.list(filter, cursor)
    const values = await this.#values(page.entries.flatMap((entry) => textsOf(entry)))
    const entries = page.entries
      .map((entry) => this.#entry(entry, values))
      .filter((entry) => entry !== undefined)
    return { ...page, entries }
  }

  count(): Promise<Counts> {
    return this.#engine.count()
  }

  listen(hear: (hint: Hint) => void): Listening {
    return this.#engine.listen((hint) => {
      if (hint.kind !== 'ended' || !isReference(hint.run?.result)) return hear(hint)
      // Whoever waits reads the run, and its value with it.
      hear({ kind: 'ended', id: hint.id })
    })
  }

  /** A store that does not clear away by itself is gone through every now and then; no value is ever written anew. */
  async #clear(): Promise<void> {
    if (this.#store.forgets || !this.#store.scannable || environment.monotonic() < this.#clearAt) return
    this.#clearAt = environment.monotonic() + CLEAR_MS
    const expired: string[] = []
    for await (const [key, , expires] of this.#store.scan()) {
      const at = key.indexOf(keyOf(this.#prefix))
      if (at >= 0 && expires !== undefined && expires < environment.now()) expired.push(key.slice(at))
    }
    for (let at = 0; at < expired.length; at += READ_AT_ONCE)
      await this.#store.remove(expired.slice(at, at + READ_AT_ONCE))
  }

  async #close(): Promise<void> {
    try {
      await this.#engine.close()
    } finally {
      await this.#store.close()
    }
  }

  #isLarge(outcome: AttemptOutcome): boolean {
    return (
      outcome.kind === 'completed' && (outcome.result.length > this.#above || isReference(outcome.result))
    )
  }

  /** Before the run is settled: a reference never leads to what is not there yet. */
  async #put(outcomes: readonly Completed[]): Promise<Map<Completed, string>> {
    const runs = await this.#engine.read(outcomes.map(({ id }) => id))
    const references = new Map<Completed, string>()
    const writes = outcomes.map((outcome, index) => {
      // The token in the name keeps a refused attempt from clearing away what the accepted one has stored.
      const hash = createHash('sha256')
        .update(`${outcome.token}\n${outcome.result}`)
        .digest('hex')
        .slice(0, 24)
      const reference = `${this.#prefix}${outcome.id}.${hash}`
      references.set(outcome, reference)
      return { key: keyOf(reference), value: `=${outcome.result}`, ttlMs: ttlOf(runs[index]?.policy) }
    })
    for (const write of writes) await this.#store.write([write])
    return references
  }

  async #claims<C extends Claims>(claims: C): Promise<C> {
    const values = await this.#values(claims.claimed.flatMap(({ entry }) => textsOf(entry)))
    if (values.size === 0) return claims
    const claimed = claims.claimed.map(({ entry, ...rest }): Claimed => {
      const value = values.get(entry.parent?.value ?? '')
      // A parent whose result is gone keeps its reference, which no handler can take for a value.
      return { ...rest, entry: value === undefined ? entry : withParent(entry, value) }
    })
    return { ...claims, claimed }
  }

  async #values(texts: readonly (string | undefined)[]): Promise<Values> {
    const references = [...new Set(texts.filter(isReference))]
    const values = new Map<string, string>()
    for (let at = 0; at < references.length; at += READ_AT_ONCE) {
      const some = references.slice(at, at + READ_AT_ONCE)
      const found = await this.#store.read(some.map(keyOf))
      for (const [index, text] of found.entries())
        if (typeof text === 'string' && text.startsWith('=')) values.set(some[index] as string, text.slice(1))
    }
    return values
  }

  #resolved(verdict: Verdict, entry: Standing, values: Values): Verdict | undefined {
    if (!isReference(entry.result)) return verdict
    const result = values.get(entry.result)
    return result === undefined ? undefined : { ...verdict, entry: { ...entry, result } }
  }

  #entry(entry: Entry, values: Values): Entry | undefined {
    const parent = values.get(entry.parent?.value ?? '')
    const whole = parent === undefined ? entry : withParent(entry, parent)
    if (!isReference(entry.result)) return whole
    const result = values.get(entry.result)
    return result === undefined ? undefined : { ...whole, result }
  }
}

const keyOf = (reference: string): string => reference.slice(REFERENCE.length)
const textsOf = (entry: Entry | undefined): (string | undefined)[] => [entry?.result, entry?.parent?.value]
const withParent = (entry: Entry, value: string): Entry =>
  entry.parent === undefined ? entry : { ...entry, parent: { ...entry.parent, value } }

function ttlOf(policy: Policy | undefined): number {
  const { resultTtlMs = 0, staleTtlMs = 0, retentionMs = 0, everyMs = 0 } = policy ?? {}
  return Math.max(resultTtlMs, everyMs) + staleTtlMs + retentionMs + GRACE_MS
}
