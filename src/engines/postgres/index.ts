// The PostgreSQL engine: the contract's verbs, each one call of a function on the server, and so one statement.

import { createHash } from 'node:crypto'
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
import { checkBatch, nameOfWant } from '../../contract/engine.ts'
import { explained, PostgresDriver } from '../../drivers/postgres.ts'
import { asked, leasesText, namedText, outcomesText } from './arguments.ts'
import type { Took } from './claims.ts'
import { claimsOf } from './claims.ts'
import { hintsOf } from './hints.ts'
import { KnownLanes } from './known-lanes.ts'
import { Listener } from './listener.ts'
import type { PostgresEngineOptions } from './options.ts'
import { readOptions } from './options.ts'
import type { Call } from './passes.ts'
import { callOf, invalidateKeys, invalidateName, listPage, takeBackWaits } from './passes.ts'
import type { Admitted, EntryRow } from './rows.ts'
import { entryOf, verdictsOf } from './rows.ts'
import type { Migration } from './schema.ts'
import { migrate, missingStatements } from './schema.ts'
import { LOST_LEASE } from './statements.ts'
import { asTransaction } from './within.ts'

export type { PostgresEngineOptions } from './options.ts'

/** For tests of tests: a function under this name in the options rewrites the functions on the server before they are made. */
export const REWRITE = Symbol('deferq.postgres.rewrite')

const TIDY_MS = 30_000

export class PostgresEngine implements Engine {
  readonly name = 'postgres'
  readonly shards = 1
  readonly #driver: PostgresDriver
  readonly #migration: Migration
  /** Unique to this instance; short, because it lies in each run that it watches. */
  readonly #address = environment.randomBytes(9).toString('base64url')
  readonly #everybody: string
  readonly #listeners = new Set<(hint: Hint) => void>()
  readonly #knownLanes = new KnownLanes()
  #listener: Listener | undefined
  #opening: Promise<void> | undefined
  #opened = false
  #closing: Promise<void> | undefined
  #claims = 0
  #tidiedAt = Number.NEGATIVE_INFINITY

  constructor(options: PostgresEngineOptions) {
    const { schema, migrate = true, ...rest } = readOptions(options)
    this.#driver = new PostgresDriver(rest)
    this.#everybody = `deferq:${createHash('sha256').update(schema).digest('hex').slice(0, 24)}`
    const rewrite = (options as { [REWRITE]?: (sql: string) => string })[REWRITE]
    this.#migration = { driver: this.#driver, schema, allowed: migrate, rewrite }
  }

  get caveats(): readonly string[] {
    if (!this.#listener?.deaf) return []
    return [
      'The server is reached through a pooler that shares sessions, so no notification arrives: waits are found by looking once a second. Give listenUrl, a URL that leads to the server itself.',
    ]
  }

  open(): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(this.#closedError())
    this.#opening ??= this.#open().catch((error) => {
      // The next call tries anew.
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async admit(drafts: readonly Draft[], options?: WriteOptions): Promise<Verdict[]> {
    checkBatch(drafts, 'admit')
    if (drafts.length === 0) return []
    if (options?.tx !== undefined) return this.#admitWithin(options.tx, drafts)
    const batch = asked(drafts)
    const answer = await this.#call('admit', [...batch.values, this.#hearingAddress(), false], true)
    return verdictsOf(drafts, batch, answer as Admitted)
  }

  async #admitWithin(tx: unknown, drafts: readonly Draft[]): Promise<Verdict[]> {
    await this.#makeLanes(drafts)
    const batch = asked(drafts)
    const answer = await this.#call('admit', [...batch.values, this.#hearingAddress(), true], false, tx)
    return verdictsOf(drafts, batch, answer as Admitted)
  }

  async claim(want: Want): Promise<Claims> {
    // What a lost answer had claimed nobody would run, so a claim is not sent twice.
    return claimsOf((await this.#call('claim', this.#claiming(want))) as Took)
  }

  async settle(outcomes: readonly AttemptOutcome[], want?: Want, options?: WriteOptions): Promise<Settled> {
    checkBatch(outcomes, 'settle')
    if (want !== undefined && options?.tx !== undefined) {
      throw new DeferqError(
        'INVALID_OPTION',
        'settle(): a claim can take no part in a transaction, because nobody else would see its leases. Omit want or tx.',
      )
    }
    if (outcomes.length === 0) return { answers: [], ...(want ? await this.claim(want) : { claimed: [] }) }
    const text = outcomesText(outcomes)
    const again = [text, null, null, null]
    const values = want === undefined ? again : [text, ...this.#claiming(want)]
    const { lost, took } = (await this.#call('settle', values, again, options?.tx)) as {
      lost: number[]
      took?: Took
    }
    const answers: Settled['answers'] = outcomes.map(() => 'settled')
    for (const ord of lost) answers[ord] = 'lost'
    if (took !== undefined) return { answers, ...claimsOf(took) }
    return { answers, claimed: [], ...(want === undefined ? {} : { nextDueMs: 0 }) }
  }

  async extend(leases: readonly Lease[], leaseMs: number): Promise<LeaseAnswer[]> {
    checkBatch(leases, 'extend')
    if (leases.length === 0) return []
    const rows = (await this.#call('extend', [leasesText(leases), leaseMs], true)) as [number, LeaseAnswer][]
    const answers: LeaseAnswer[] = new Array(leases.length)
    for (const [ord, answer] of rows) answers[ord] = answer
    return answers
  }

  async sweep(limit: number): Promise<Swept> {
    // Sent twice, it would only not tell of what it had brought back.
    const swept = (await this.#call('sweep', [limit, LOST_LEASE], true)) as Swept
    if (environment.monotonic() - this.#tidiedAt > TIDY_MS) {
      this.#tidiedAt = environment.monotonic()
      await this.#call('tidy', [], true)
    }
    return swept
  }

  async read(ids: readonly string[], watch = false): Promise<(Entry | undefined)[]> {
    checkBatch(ids, 'read')
    const values = [namedText(ids), watch ? this.#hearingAddress() : null]
    const rows = ((await this.#call('read_runs', values, true)) ?? []) as [number, EntryRow][]
    const entries: (Entry | undefined)[] = ids.map(() => undefined)
    for (const [ord, row] of rows) entries[ord] = entryOf(row)
    return entries
  }

  async cancel(ids: readonly string[], reason?: string, options?: WriteOptions): Promise<CancelAnswer[]> {
    checkBatch(ids, 'cancel')
    return (await this.#call('cancel', [namedText(ids), reason ?? null], true, options?.tx)) as CancelAnswer[]
  }

  async promote(ids: readonly string[], priority?: number, options?: WriteOptions): Promise<PromoteAnswer[]> {
    checkBatch(ids, 'promote')
    return (await this.#call(
      'promote',
      [namedText(ids), priority ?? null],
      true,
      options?.tx,
    )) as PromoteAnswer[]
  }

  async invalidate(selector: Selector, options?: WriteOptions): Promise<number> {
    const call: Call = (name, values) => this.#call(name, values, true, options?.tx)
    if ('name' in selector) return invalidateName(call, this.#everybody, selector.name)
    checkBatch(selector.keys, 'invalidate')
    return invalidateKeys(call, this.#everybody, selector.keys)
  }

  async pause(lanes: Lanes, paused: boolean): Promise<void> {
    const [kind, value] = 'queue' in lanes ? ['q', lanes.queue] : ['n', lanes.name]
    await this.#call('pause', [kind, value, paused], true)
  }

  async list(filter: Filter, cursor?: string): Promise<Page> {
    return listPage((name, values) => this.#call(name, values, true), filter, cursor)
  }

  async count(): Promise<Counts> {
    return (await this.#call('counts', [], true)) as Counts
  }

  listen(hear: (hint: Hint) => void): Listening {
    this.#listeners.add(hear)
    if (this.#opened) void this.#hearkening().start()
    return { stop: () => this.#listeners.delete(hear), hears: () => this.#listener?.hears === true }
  }

  async maintenance(): Promise<Maintenance> {
    if (this.#closing !== undefined) throw this.#closedError()
    const { PostgresMaintenance } = await import('./maintenance.ts')
    return new PostgresMaintenance({
      driver: this.#driver,
      schema: this.#migration.schema,
      everybody: this.#everybody,
      open: () => this.open(),
      migrate: (dryRun) => missingStatements(this.#migration, dryRun),
    })
  }

  async #open(): Promise<void> {
    await migrate(this.#migration)
    // First the ears, then the calls that promise a hint.
    if (this.#listeners.size > 0) await this.#hearkening().start()
    this.#opened = true
  }

  async #close(): Promise<void> {
    if (this.#opened) {
      await takeBackWaits(this.#driver, this.#migration.schema, this.#address)
    }
    await this.#listener?.stop()
    await this.#driver.close()
    this.#listeners.clear()
  }

  async #call(
    name: string,
    values: readonly unknown[],
    again: boolean | readonly unknown[] = false,
    tx?: unknown,
  ): Promise<unknown> {
    if (this.#closing !== undefined) throw this.#closedError()
    if (!this.#opened) await this.open()
    if (tx !== undefined) {
      const transaction = asTransaction(tx)
      try {
        return await transaction(callOf(this.#migration.schema, name, values.length), [...values])
      } catch (error) {
        throw explained(error, this.#driver.where)
      }
    }
    const [row] = await this.#driver.call(callOf(this.#migration.schema, name, values.length), values, again)
    return row?.answer
  }

  /** Apart from the caller's transaction: others who need the same lanes would wait for its end. */
  async #makeLanes(drafts: readonly Draft[]): Promise<void> {
    const unknown = this.#knownLanes.unknownOf(drafts)
    if (unknown.length === 0) return this.open()
    await this.#call('make_lanes', [`[${unknown.join()}]`], true)
    this.#knownLanes.learn(unknown)
  }

  /** Where hints reach this instance, if they do. */
  #hearingAddress(): string | null {
    return this.#listeners.size > 0 && !this.#listener?.deaf ? this.#address : null
  }

  #claiming(want: Want): unknown[] {
    // Begins with the address, by which a cancellation finds the worker; unguessable and new for each call.
    const prefix = `${this.#address}.${environment.randomBytes(6).toString('base64url')}${(this.#claims++).toString(36)}.`
    return [JSON.stringify({ ...want, name: nameOfWant(want) }), this.#hearingAddress(), prefix]
  }

  #hearkening(): Listener {
    this.#listener ??= new Listener({
      driver: this.#driver,
      channels: [`deferq:${this.#address}`, this.#everybody],
      hear: (message) => this.#tell(...hintsOf(message)),
      missed: () => this.#tell({ kind: 'changed' }),
      trouble: (message, error) => this.#tell({ kind: 'trouble', message, error }),
    })
    return this.#listener
  }

  #tell(...hints: Hint[]): void {
    for (const hint of hints) for (const hear of this.#listeners) hear(hint)
  }

  #closedError(): DeferqError {
    return new DeferqError('CLOSED', 'This PostgreSQL engine is closed: open a new one.')
  }
}
