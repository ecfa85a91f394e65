// The composed engine: the contract over a Keyv store, a lock and a transport, none of which knows the others.

import { DeferqError } from '../../base/errors.ts'
import type {
  AttemptOutcome,
  CancelAnswer,
  Claims,
  Counts,
  Draft,
  Engine,
  Entry,
  Filter,
  Hint,
  Lease,
  LeaseAnswer,
  Listening,
  Page,
  PromoteAnswer,
  Lanes as Selected,
  Selector,
  SettleAnswer,
  Settled,
  Swept,
  Verdict,
  Want,
  WriteOptions,
} from '../../contract/engine.ts'
import { checkBatch, KEY_LENGTH, refuseTx } from '../../contract/engine.ts'
import { release, retain } from '../../drivers/shared-handles.ts'
import { Admissions } from './admissions.ts'
import { caveatsOf } from './caveats.ts'
import { Taking } from './claims.ts'
import { entryOf, isLive, Names } from './document-store.ts'
import type { Hearing } from './hub.ts'
import { hubOf } from './hub.ts'
import { Lanes } from './lanes.ts'
import { keysOf, keysOfAll, keysOfIds, list } from './overview.ts'
import { readPaused } from './pauses.ts'
import { sweep } from './sweep.ts'
import { SHARDS, Tallies } from './tally.ts'
import type { ComposedParts, Parts } from './transactions.ts'
import { HOLD_MS, Transactions, WAIT_MS } from './transactions.ts'
import { KEYS_AT_ONCE, Upkeep } from './upkeep.ts'

export class ComposedEngine implements Engine, Hearing {
  readonly name = 'composed'
  readonly shards = 1
  readonly caveats: readonly string[]
  readonly #parts: Parts
  readonly #transactions: Transactions
  readonly #admissions: Admissions
  readonly #taking: Taking
  readonly #listeners = new Set<(hint: Hint) => void>()
  readonly #closing = new AbortController()
  readonly #upkeep: Upkeep
  #opening: Promise<void> | undefined
  #closed: Promise<void> | undefined
  #deaf: (() => void) | undefined

  constructor({ tasks, lock, queue, prefix, now }: ComposedParts) {
    const names = new Names(prefix)
    this.#parts = {
      tasks,
      lock,
      queue,
      names,
      lanes: new Lanes(tasks, names, lock, prefix),
      tallies: new Tallies(names),
      hub: hubOf(prefix),
      timersQueue: `${prefix}.timers`,
      now,
      tell: (hint) => this.hear(hint),
    }
    retain(lock)
    retain(queue)
    this.caveats = caveatsOf(this.#parts)
    this.#transactions = new Transactions(this.#parts)
    this.#upkeep = new Upkeep(this.#parts, this.#transactions)
    this.#admissions = new Admissions(this.#parts, this.#transactions)
    this.#taking = new Taking(this.#parts, this.#transactions, this, () => this.#listeners.size > 0)
  }

  open(): Promise<void> {
    this.#opening ??= this.#open().catch((error) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async admit(drafts: readonly Draft[], options?: WriteOptions): Promise<Verdict[]> {
    refuseTx(options, this.name, 'admit')
    await this.#ready(drafts, 'admit')
    const { hub } = this.#parts
    const watching = drafts.filter(({ watch }) => watch)
    for (const { id } of watching) hub.watch(id.slice(0, KEY_LENGTH), this)
    try {
      const verdicts = await this.#admissions.admit(drafts)
      for (const [index, { watch }] of drafts.entries()) {
        const { entry } = verdicts[index] as Verdict
        if (watch && (entry.status === 'pending' || entry.status === 'running')) hub.watch(entry.id, this)
      }
      return verdicts
    } finally {
      for (const { id } of watching) hub.unwatch(id.slice(0, KEY_LENGTH), this)
    }
  }

  async claim(want: Want): Promise<Claims> {
    await this.#ready()
    return this.#taking.claim(want)
  }

  async settle(outcomes: readonly AttemptOutcome[], want?: Want, options?: WriteOptions): Promise<Settled> {
    refuseTx(options, this.name, 'settle')
    await this.#ready(outcomes, 'settle')
    // Other keys and other messages: neither waits for the other.
    const claiming = want === undefined ? Promise.resolve<Claims>({ claimed: [] }) : this.#taking.claim(want)
    const [settled, claims] = await Promise.allSettled([this.#settle(outcomes), claiming])
    if (settled.status === 'fulfilled' && claims.status === 'fulfilled') {
      const { answers, announced } = settled.value
      const left = (want?.limit ?? 0) - claims.value.claimed.length
      if (!announced || want === undefined || left <= 0) return { answers, ...claims.value }
      // What the outcomes have made ready may have come too late for the claim beside them.
      const more = await this.#taking.claim({ ...want, limit: left }).catch((): Claims => ({ claimed: [] }))
      const malformed = [...(claims.value.malformed ?? []), ...(more.malformed ?? [])]
      const all = { ...more, claimed: [...claims.value.claimed, ...more.claimed] }
      return { answers, ...all, ...(malformed.length === 0 ? {} : { malformed }) }
    }
    // The caller hears of the failure and not of these claims; if they can't be given back, their leases run out.
    if (claims.status === 'fulfilled' && claims.value.claimed.length > 0) {
      const unheard = claims.value.claimed.map(
        ({ entry: { id }, token }) => ({ id, token, kind: 'released' }) as const,
      )
      await this.#settle(unheard).catch(() => {})
    }
    // What was settled is settled: to settle it again is harmless.
    throw settled.status === 'rejected' ? settled.reason : (claims as PromiseRejectedResult).reason
  }

  async extend(leases: readonly Lease[], leaseMs: number): Promise<LeaseAnswer[]> {
    await this.#ready(leases, 'extend')
    return this.#transactions.run({ of: keysOfAll(leases), counted: false }, (step) =>
      leases.map((lease) => step.extend(lease, leaseMs)),
    )
  }

  async sweep(limit: number): Promise<Swept> {
    await this.#ready()
    const swept = await sweep(this.#parts, this.#transactions, limit)
    return { ...swept, removed: await this.#upkeep.clear() }
  }

  async read(ids: readonly string[], watch = false): Promise<(Entry | undefined)[]> {
    await this.#ready(ids, 'read')
    const { hub } = this.#parts
    if (watch) for (const id of ids) hub.watch(id, this)
    const { answer: runs } = await this.#transactions.look(keysOfIds(ids), (step) =>
      ids.map((id) => step.read(id)),
    )
    if (watch) {
      for (const [index, id] of ids.entries()) {
        const run = runs[index]
        const live = run !== undefined && isLive(run)
        if (live) hub.watch(run.id, this)
        if (!live || run.id !== id) hub.unwatch(id, this)
      }
    }
    const attended = ids.filter((_, index) => runs[index]?.attended !== undefined)
    if (attended.length > 0)
      // Reading an attended run counts as asking for it.
      await this.#transactions.run({ of: keysOfIds(attended), counted: false }, (step) => {
        for (const id of attended) step.attend(id)
      })
    return runs.map((run) => run && entryOf(run))
  }

  async cancel(ids: readonly string[], reason?: string, options?: WriteOptions): Promise<CancelAnswer[]> {
    refuseTx(options, this.name, 'cancel')
    await this.#ready(ids, 'cancel')
    return this.#transactions.run({ of: keysOfIds(ids) }, (step) => ids.map((id) => step.cancel(id, reason)))
  }

  async promote(ids: readonly string[], priority?: number, options?: WriteOptions): Promise<PromoteAnswer[]> {
    refuseTx(options, this.name, 'promote')
    await this.#ready(ids, 'promote')
    return this.#transactions.run({ of: keysOfIds(ids) }, (step) =>
      ids.map((id) => step.promote(id, priority)),
    )
  }

  async invalidate(selector: Selector, options?: WriteOptions): Promise<number> {
    refuseTx(options, this.name, 'invalidate')
    await this.#ready('keys' in selector ? selector.keys : [], 'invalidate')
    const { tasks, names, hub } = this.#parts
    const keys = 'keys' in selector ? [...new Set(selector.keys)] : await keysOf(tasks, names, selector.name)
    let changed = 0
    for (let at = 0; at < keys.length; at += KEYS_AT_ONCE) {
      const some = keys.slice(at, at + KEYS_AT_ONCE)
      changed += await this.#transactions.run(
        { of: some, counted: false },
        (step) => some.filter((key) => step.invalidate(key)).length,
      )
    }
    hub.invalidated(selector)
    return changed
  }

  async pause(lanes: Selected, paused: boolean): Promise<void> {
    await this.#ready()
    await this.#parts.lanes.pause(lanes, paused, HOLD_MS, WAIT_MS)
    // Each claim that begins from here on sees it; those that began before have ended when this has.
    if (paused) await this.#transactions.settled()
    else this.#parts.hub.resumed()
  }

  async list(filter: Filter, cursor?: string): Promise<Page> {
    await this.#ready()
    const { tasks, names, now } = this.#parts
    return list(tasks, names, filter, cursor, now())
  }

  async count(): Promise<Counts> {
    await this.#ready()
    const { tasks, names } = this.#parts
    await this.#upkeep.flush()
    const tallies = Array.from({ length: SHARDS }, (_, shard) => names.tally(shard))
    const [paused, ...texts] = await tasks.read([names.paused(), ...tallies])
    return { ...Tallies.sum(texts), paused: readPaused(paused) }
  }

  /** Other processes' invalidations are not heard of. */
  listen(hear: (hint: Hint) => void): Listening {
    this.#listeners.add(hear)
    return { stop: () => this.#listeners.delete(hear), hears: () => false }
  }

  /** Deferred, so that no listener runs in the middle of a step. */
  hear(hint: Hint): void {
    queueMicrotask(() => {
      for (const hear of this.#listeners) hear(hint)
    })
  }

  /** `announced`: something waits now that did not before. */
  async #settle(
    outcomes: readonly AttemptOutcome[],
  ): Promise<{ answers: SettleAnswer[]; announced: boolean }> {
    if (outcomes.length === 0) return { answers: [], announced: false }
    const settled = await this.#transactions.run({ of: keysOfAll(outcomes) }, (step) => ({
      answers: outcomes.map((outcome) => step.settle(outcome)),
      announced: step.announcements.size + step.turns.length > 0,
    }))
    for (const { id } of outcomes) this.#parts.hub.settled(id)
    return settled
  }

  async #ready(items: readonly unknown[] = [], method = ''): Promise<void> {
    this.#checkOpen()
    checkBatch(items, method)
    await this.open()
  }

  #checkOpen(): void {
    if (this.#closed === undefined) return
    throw new DeferqError('CLOSED', 'This composed engine is closed: compose a new one.')
  }

  async #open(): Promise<void> {
    const { queue, lanes, hub, tell } = this.#parts
    this.#checkOpen()
    await Promise.all([queue.open(), lanes.read()])
    hub.join(this)
    this.#deaf = queue.onTrouble((error) => tell({ kind: 'trouble', message: error.message, error }))
    void this.#upkeep.flushing(this.#closing.signal)
  }

  async #close(): Promise<void> {
    await this.#opening?.catch(() => {})
    this.#closing.abort()
    this.#parts.hub.leave(this)
    await this.#taking.close().catch(() => {})
    // A store that is away has lost nothing but the count of some hits.
    await this.#upkeep.flush().catch(() => {})
    await this.#transactions.close()
    this.#deaf?.()
    this.#listeners.clear()
    const { queue, lock, tasks } = this.#parts
    if (release(queue)) await queue.close()
    if (release(lock)) await lock.close?.()
    await tasks.close()
  }
}
