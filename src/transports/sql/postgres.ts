// Messages in a PostgreSQL table, in the engine's schema or another.

import { DeferqError } from '../../base/errors.ts'
import type { Delivery, Depth, Message, Outgoing, Reservation } from '../../contract/transport.ts'
import type { PostgresOptions, Rows } from '../../drivers/postgres.ts'
import { PostgresDriver, quoted } from '../../drivers/postgres.ts'
import { parcels } from '../../drivers/split-by-size.ts'
import type { Look } from '../../drivers/transport-wait.ts'
import type { Dialect, Move } from './dialect.ts'
import { rowOf } from './dialect.ts'
import { Notices } from './notices.ts'
import type { Statements } from './statements.ts'
import { callsFor, channelOf } from './statements.ts'

const LOOK_MS = 1_000
const NOT_KEPT =
  'PostgreSQL answers before what it was told is on its disk (synchronous_commit or fsync is off): its crash may lose the last moments.'
/** Where nothing is heard: the session for notices is away. */
const DEAF_LOOK_MS = 200

export class PostgresMessages implements Dialect {
  readonly name = 'postgres'
  caveats: readonly string[] = []
  readonly #driver: PostgresDriver
  readonly #schema: string
  readonly #sql: Statements
  readonly #notices: Notices

  constructor(
    { schema = 'deferq', ...options }: PostgresOptions & { schema?: string },
    trouble: (error: DeferqError) => void,
  ) {
    if (!/^[a-z_][a-z0-9_]{0,40}$/i.test(schema)) {
      throw new DeferqError(
        'INVALID_OPTION',
        `The schema '${schema}' can't be used: take up to 40 letters, digits and '_'.`,
      )
    }
    this.#schema = schema
    this.#driver = new PostgresDriver(options)
    this.#sql = callsFor(schema)
    this.#notices = new Notices(this.#driver, channelOf(schema), trouble)
  }

  async open(): Promise<void> {
    const [found] = await this.#driver.query(this.#sql.welcome, [], true)
    if (found?.['keeps'] === false) this.caveats = [NOT_KEPT]
    if (found?.['there'] === true) return
    // Many may open a fresh database at once; CREATE … IF NOT EXISTS alone fails for some of them.
    await this.#driver.transaction(async (query) => {
      await query("SELECT pg_advisory_xact_lock(hashtextextended('deferq migration', 0))")
      const [{ there }] = (await query('SELECT to_regnamespace($1) IS NOT NULL AS there', [
        quoted(this.#schema),
      ])) as [{ there: boolean }]
      // Without it, a user who may not create schemas could not use one that is there.
      if (!there) await query(`CREATE SCHEMA IF NOT EXISTS ${quoted(this.#schema)}`)
      await query(this.#sql.migration)
    }, true)
  }

  async close(): Promise<void> {
    this.#notices.close()
    await this.#driver.close()
  }

  async publish(messages: readonly Outgoing[]): Promise<void> {
    for (const parcel of parcels(messages, ({ body }) => body.length)) {
      await this.#driver.query(this.#sql.publish, [
        parcel.map(({ queue }) => queue),
        parcel.map(({ delayMs = 0 }) => delayMs),
        parcel.map(({ body }) => bufferOf(body)),
      ])
    }
  }

  async take({ queues, limit, visibilityMs }: Reservation, secret: string): Promise<Look> {
    let open: readonly string[] = queues
    let nextMs = Number.POSITIVE_INFINITY
    if (queues.length > 1) {
      // One look that locks nothing, instead of one statement for each of the queues, most of which are empty.
      const found = await this.#next(queues)
      open = queues.filter((queue) => (found.get(queue) ?? Number.POSITIVE_INFINITY) <= 0)
      nextMs = Math.min(...found.values())
    }
    const deliveries: Delivery[] = []
    for (const queue of open) {
      const left = limit - deliveries.length
      if (left === 0) break
      const rows = await this.#driver.query(this.#sql.take, [queue, left, visibilityMs, secret])
      deliveries.push(...rows.map((row) => deliveryOf(queue, row)))
    }
    if (deliveries.length === 0 && queues.length === 1) {
      nextMs = Math.min(...(await this.#next(queues)).values())
    }
    return {
      deliveries,
      nextMs: Math.max(1, Math.min(nextMs, this.#notices.hears ? LOOK_MS : DEAF_LOOK_MS)),
    }
  }

  async ack(tokens: readonly string[]): Promise<string[]> {
    return tokensOf(await this.#driver.query(this.#sql.ack, [tokens.map(rowOf), tokens]))
  }

  async move(moves: readonly Move[]): Promise<string[]> {
    const moved: string[] = []
    for (const parcel of parcels(moves, ({ body }) => body?.length ?? 0)) {
      const rows = await this.#driver.query(this.#sql.move, [
        parcel.map(({ delivery }) => rowOf(delivery.token)),
        parcel.map(({ delivery }) => delivery.token),
        parcel.map(({ queue }) => queue),
        parcel.map(({ delayMs }) => delayMs),
        parcel.map(({ body }) => (body === undefined ? null : bufferOf(body))),
      ])
      moved.push(...tokensOf(rows))
    }
    return moved
  }

  async extend(tokens: readonly string[], visibilityMs: number): Promise<string[]> {
    return tokensOf(
      await this.#driver.query(this.#sql.extend, [tokens.map(rowOf), tokens, visibilityMs], true),
    )
  }

  async depth(queues: readonly string[]): Promise<Depth[]> {
    const rows = await this.#driver.query(this.#sql.depth, [queues], true)
    return rows.map((row) => ({
      queue: row['queue'] as string,
      ready: Number(row['ready']),
      delayed: Number(row['delayed']),
      reserved: Number(row['reserved']),
    }))
  }

  async peek(queue: string, limit: number): Promise<Message[]> {
    const rows = await this.#driver.query(this.#sql.peek, [queue, limit], true)
    return rows.map((row) => ({ body: ownBytes(row) }))
  }

  async leave(consumer: string, queues: readonly string[]): Promise<void> {
    await this.#driver.query(this.#sql.leave, [queues, `%.${consumer}.%`], true)
  }

  listen(queues: readonly string[], ring: () => void): () => void {
    return this.#notices.listen(queues, ring)
  }

  /** Per queue, in how many milliseconds something may be handed out. */
  async #next(queues: readonly string[]): Promise<Map<string, number>> {
    const rows = await this.#driver.query(this.#sql.next, [queues], true)
    const known = rows.filter((row) => row['next'] !== null)
    return new Map(known.map((row) => [row['queue'] as string, Number(row['next'])]))
  }
}

const deliveryOf = (queue: string, row: Rows[number]): Delivery => ({
  queue,
  token: row['token'] as string,
  deliveries: row['deliveries'] as number,
  body: ownBytes(row),
})

const ownBytes = (row: Rows[number]): Uint8Array => new Uint8Array(row['body'] as Buffer)
const tokensOf = (rows: Rows): string[] => rows.map((row) => row['token'] as string)
const bufferOf = (body: Uint8Array): Buffer => Buffer.from(body.buffer, body.byteOffset, body.byteLength)
