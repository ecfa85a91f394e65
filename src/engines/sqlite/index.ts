// The SQLite engine: several processes on one machine share one file, and nothing else is needed.
import { environment } from '../../base/environment.ts'
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
  Lanes,
  Lease,
  LeaseAnswer,
  Listening,
  Maintenance,
  Page,
  PromoteAnswer,
  Selector,
  Settled,
  Swept,
  Verdict,
  Want,
  WriteOptions,
} from '../../contract/engine.ts'
import { checkBatch, refuseTx } from '../../contract/engine.ts'
import { loadDriver } from '../../drivers/sqlite.ts'
import type { Settings, SqliteOptions } from '../../drivers/sqlite-settings.ts'
import { settingsOf } from '../../drivers/sqlite-settings.ts'
import { admit, promote } from './admit.ts'
import { caveatsOf } from './caveats.ts'
import { claim, firstDue } from './claim.ts'
import { Connection, missingStatements } from './connection.ts'
import type { Pass } from './forget.ts'
import { announce, cancel, invalidateKeys, invalidateName } from './forget.ts'
import type { Member } from './notifier.ts'
import { Hub } from './notifier.ts'
import { count, list, pause, pickRun, readRuns, renew } from './overview.ts'
import type { Broken } from './rows.ts'
import { entryOf } from './rows.ts'
import { extend, isLittered, settle, sweep } from './settle.ts'
import { Step } from './step.ts'
import { placeOf } from './token.ts'

export type { SqliteOptions } from '../../drivers/sqlite-settings.ts'

export class SqliteEngine implements Engine {
  readonly name = 'sqlite'
  readonly shards = 1
  readonly caveats: readonly string[]
  readonly #settings: Settings
  readonly #listeners = new Set<(hint: Hint) => void>()
  #opening: Promise<Opened> | undefined
  #opened: Opened | undefined
  #closed = false

  constructor(options: SqliteOptions) {
    this.#settings = settingsOf(options)
    this.caveats = caveatsOf(this.#settings)
  }

  async open(): Promise<void> {
    await this.#open()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#listeners.clear()
    // An opening under way sees that it is no longer wanted, and closes what it has opened.
    await this.#opening?.catch(() => undefined)
    this.#release()
  }

  async admit(drafts: readonly Draft[], options?: WriteOptions): Promise<Verdict[]> {
    refuseTx(options, this.name, 'admit')
    checkBatch(drafts, 'admit')
    return this.#step((step) => admit(step, drafts))
  }

  async claim(want: Want): Promise<Claims> {
    const { connection } = await this.#open()
    // A look costs the others nothing, the write lock does: an idle worker takes it only when there is something.
    const now = this.#settings.now()
    const due = await connection.read(() => firstDue(connection, want, now))
    if (due === undefined || due > now) return this.#claimed({ claimed: [] }, want)
    return this.#claimed(await this.#step((step) => claim(step, want)), want)
  }

  async settle(outcomes: readonly AttemptOutcome[], want?: Want, options?: WriteOptions): Promise<Settled> {
    refuseTx(options, this.name, 'settle')
    checkBatch(outcomes, 'settle')
    if (outcomes.length === 0)
      return { answers: [], ...(want === undefined ? { claimed: [] } : await this.claim(want)) }
    const settled = await this.#step((step) => {
      const answers = settle(step, outcomes)
      if (want === undefined) return { answers, claimed: [] }
      step.flush()
      return { answers, ...claim(step, want) }
    })
    for (const { id } of outcomes) this.#opened?.hub.release(id)
    return want === undefined ? settled : { ...settled, ...(await this.#claimed(settled, want)) }
  }

  async extend(leases: readonly Lease[], leaseMs: number): Promise<LeaseAnswer[]> {
    checkBatch(leases, 'extend')
    return this.#step((step) => extend(step, leases, leaseMs))
  }

  async sweep(limit: number): Promise<Swept> {
    const { connection } = await this.#open()
    connection.trimLog()
    const littered = await connection.read(() => isLittered(connection, this.#settings.now()))
    if (!littered) return { requeued: [], failed: [], abandoned: [], removed: 0 }
    return this.#step((step) => sweep(step, limit))
  }

  async read(ids: readonly string[], watch = false): Promise<(Entry | undefined)[]> {
    checkBatch(ids, 'read')
    const { connection, hub, member } = await this.#open()
    const now = this.#settings.now()
    let { runs, broken } = await connection.read(() => readRuns(connection, ids))
    await this.#setAside(broken)
    let find = pickRun(runs)
    if (ids.some((id) => find(id)?.attended)) {
      // Under the write lock, so that no sweep cancels what is answered as still wanted.
      ;({ runs } = await this.#step((step) => renew(step, ids)))
      find = pickRun(runs)
    }
    return ids.map((id) => {
      const run = find(id)
      if (run === undefined || (run.expiresAt !== null && run.expiresAt <= now)) return undefined
      if (watch && run.expiresAt === null) hub.watch(member, run)
      return entryOf(run)
    })
  }

  async cancel(ids: readonly string[], reason?: string, options?: WriteOptions): Promise<CancelAnswer[]> {
    refuseTx(options, this.name, 'cancel')
    checkBatch(ids, 'cancel')
    return this.#step((step) => cancel(step, ids, reason))
  }

  async promote(ids: readonly string[], priority?: number, options?: WriteOptions): Promise<PromoteAnswer[]> {
    refuseTx(options, this.name, 'promote')
    checkBatch(ids, 'promote')
    return this.#step((step) => promote(step, ids, priority))
  }

  async invalidate(selector: Selector, options?: WriteOptions): Promise<number> {
    refuseTx(options, this.name, 'invalidate')
    const { hub } = await this.#open()
    if ('keys' in selector) {
      checkBatch(selector.keys, 'invalidate')
      return this.#step((step) => {
        announce(step, selector, hub.origin)
        return invalidateKeys(step, selector.keys)
      })
    }
    const pass: Pass = { lane: 0, expiresAt: 0, seq: 0, until: this.#settings.now() }
    const forgotten = new Set<string>()
    for (let more = true; more; ) {
      more = await this.#step((step) => {
        const first = pass.lane === 0
        if (first) announce(step, selector, hub.origin)
        return invalidateName(step, selector.name, pass, forgotten)
      })
      if (more) await new Promise<void>((resolve) => environment.setImmediate(resolve))
    }
    return forgotten.size
  }

  async pause(lanes: Lanes, paused: boolean): Promise<void> {
    await this.#step((step) => pause(step, lanes, paused))
  }

  async list(filter: Filter, cursor?: string): Promise<Page> {
    const { connection } = await this.#open()
    const {
      broken,
      entries,
      cursor: next,
    } = await connection.read(() => list(connection, filter, cursor, this.#settings.now()))
    await this.#setAside(broken)
    return { entries, ...(next === undefined ? {} : { cursor: next }) }
  }

  async count(): Promise<Counts> {
    const { connection } = await this.#open()
    return connection.read(() => count(connection))
  }

  listen(hear: (hint: Hint) => void): Listening {
    this.#listeners.add(hear)
    this.#opened?.hub.arm()
    return { stop: () => this.#listeners.delete(hear), hears: () => !this.#closed }
  }

  async maintenance(): Promise<Maintenance> {
    if (this.#closed) throw closed()
    const { SqliteMaintenance } = await import('./maintenance.ts')
    return new SqliteMaintenance({
      open: async () => (await this.#open()).connection,
      step: (work) => this.#step(work),
      migrate: (dryRun) => missingStatements(this.#settings, dryRun),
    })
  }

  /** One transaction of the rules over the file, and then its news. */
  async #step<T>(work: (step: Step) => T): Promise<T> {
    const { connection, hub, member } = await this.#open()
    let step: Step | undefined
    const result = await connection.write(() => {
      step = new Step(connection, this.#settings.now())
      const answer = work(step)
      step.flush()
      return answer
    })
    hub.tell(member, (step as unknown as Step).news)
    return result
  }

  /** Remembers the leases, and waits for more where too little was found. */
  async #claimed(claims: Claims, want: Want): Promise<Claims> {
    const { connection, hub, member } = await this.#open()
    for (const { entry, token } of claims.claimed) hub.lease(member, entry.id, placeOf(token).seq)
    if (claims.claimed.length >= want.limit && want.limit > 0) return claims
    return connection.read(() => {
      const now = this.#settings.now()
      const due = firstDue(connection, want, now)
      hub.wait(member, want, due)
      return due === undefined ? claims : { ...claims, nextDueMs: Math.max(0, due - now) }
    })
  }

  async #setAside(broken: readonly Broken[]): Promise<void> {
    if (broken.length === 0) return
    await this.#step((step) => {
      for (const each of broken) step.setAside(each)
    })
  }

  #open(): Promise<Opened> {
    if (this.#closed) return Promise.reject(closed())
    this.#opening ??= this.#connect().catch((error) => {
      // The next call tries again: a folder may have been mounted meanwhile.
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #connect(): Promise<Opened> {
    const connection = await Connection.open(this.#settings, await loadDriver())
    const hub = Hub.of(this.#settings.file)
    const listeners = this.#listeners
    const member: Member = {
      connection,
      get listening() {
        return listeners.size > 0
      },
      now: this.#settings.now,
      // Deferred, so that no listener runs in the middle of a call.
      hear: (hint) =>
        queueMicrotask(() => {
          for (const hear of listeners) hear(hint)
        }),
    }
    hub.join(member)
    this.#opened = { connection, hub, member }
    if (this.#closed) {
      this.#release()
      throw closed()
    }
    hub.arm()
    return this.#opened
  }

  #release(): void {
    this.#opened?.hub.leave(this.#opened.member)
    this.#opened?.connection.close()
    this.#opened = undefined
  }
}

interface Opened {
  connection: Connection
  hub: Hub
  member: Member
}

const closed = (): DeferqError => new DeferqError('CLOSED', 'This SQLite engine is closed: open a new one.')
