// Messages in a SQLite file, beside the engine's tables or alone: several processes on one machine share it.

import type { Timer } from '../../base/environment.ts'
import { environment } from '../../base/environment.ts'
import { DeferqError } from '../../base/errors.ts'
import type { Delivery, Depth, Message, Outgoing, Reservation } from '../../contract/transport.ts'
import type { Database } from '../../drivers/sqlite.ts'
import { loadDriver } from '../../drivers/sqlite.ts'
import { APPLICATION_ID, SqliteConnection } from '../../drivers/sqlite-connection.ts'
import type { Settings, SqliteOptions } from '../../drivers/sqlite-settings.ts'
import { MEMORY, settingsOf } from '../../drivers/sqlite-settings.ts'
import type { Look } from '../../drivers/transport-wait.ts'
import type { Dialect, Move } from './dialect.ts'
import { rowOf } from './dialect.ts'

/** Whether another process has written is asked this often while somebody waits; it takes 2 µs. */
const POLL_MS = 10
const LOOK_MS = 1_000

export class SqliteMessages implements Dialect {
  readonly name = 'sqlite'
  readonly caveats: readonly string[]
  readonly #settings: Settings
  readonly #rings = new Set<() => void>()
  #connection!: SqliteConnection
  #poll: Timer | undefined
  #version = 0
  /** The last take found something, so the next may do without a look first. */
  #found = false

  constructor(options: SqliteOptions) {
    this.#settings = settingsOf(options)
    this.caveats = caveatsOf(this.#settings)
  }

  async open(): Promise<void> {
    const connection = new SqliteConnection(this.#settings, await loadDriver())
    await connection.prepare({ needsMigration, migrate: (db) => db.exec(MIGRATION) })
    this.#connection = connection
  }

  async close(): Promise<void> {
    environment.clearInterval(this.#poll)
    this.#connection?.close()
  }

  publish(messages: readonly Outgoing[]): Promise<void> {
    return this.#write((now) => {
      const insert = this.#connection.statement(INSERT)
      for (const { queue, body, delayMs = 0 } of messages) insert.run(queue, now + Math.ceil(delayMs), body)
    })
  }

  async take(want: Reservation, secret: string): Promise<Look> {
    // A look costs the others nothing, the write lock does: an idle consumer takes it only when there is something.
    const nextMs = this.#found ? 0 : await this.#nextMs(want.queues)
    if (nextMs > 0) return { deliveries: [], nextMs: Math.min(nextMs, LOOK_MS) }
    const deliveries = await this.#connection.write(() => this.#take(want, secret))
    this.#found = deliveries.length > 0
    if (!this.#found) return { deliveries, nextMs: Math.min(await this.#nextMs(want.queues), LOOK_MS) }
    return { deliveries, nextMs: LOOK_MS }
  }

  ack(tokens: readonly string[]): Promise<string[]> {
    return this.#write((now) =>
      tokens.filter((token) => this.#changed(ACK, rowOf(token) as number, token, now)),
    )
  }

  move(moves: readonly Move[]): Promise<string[]> {
    return this.#write((now) => {
      const tokens: string[] = []
      for (const { delivery, queue, delayMs, body } of moves) {
        const { token } = delivery
        const row = rowOf(token) as number
        const place = [queue, now + Math.ceil(delayMs)] as const
        const bytes = [body === undefined ? 0 : 1, body ?? null] as const
        if (!this.#changed(COPY, ...place, ...bytes, row, token, now)) continue
        this.#connection.statement(DELETE).run(row)
        tokens.push(token)
      }
      return tokens
    })
  }

  extend(tokens: readonly string[], visibilityMs: number): Promise<string[]> {
    return this.#write((now) =>
      tokens.filter((token) =>
        this.#changed(EXTEND, now + Math.ceil(visibilityMs), rowOf(token) as number, token, now),
      ),
    )
  }

  async depth(queues: readonly string[]): Promise<Depth[]> {
    const now = this.#settings.now()
    return this.#connection.read(() => {
      const count = (sql: string, queue: string): number =>
        (this.#connection.statement(sql).get(queue, now) as { n: number }).n
      return queues.map((queue) => ({
        queue,
        ready: count(COUNT_READY, queue) + count(COUNT_ENDED, queue),
        delayed: count(COUNT_DELAYED, queue),
        reserved: count(COUNT_RESERVED, queue),
      }))
    })
  }

  async peek(queue: string, limit: number): Promise<Message[]> {
    const now = this.#settings.now()
    return this.#connection.read(() => {
      const body = this.#connection.statement(BODY)
      return this.#first(queue, now, limit).map((id) => ownBody(body.get(id)))
    })
  }

  leave(consumer: string, queues: readonly string[]): Promise<void> {
    return this.#write((now) => {
      for (const queue of queues) this.#changed(LEAVE, now, queue, now, `.${consumer}.`)
    })
  }

  listen(_queues: readonly string[], ring: () => void): () => void {
    if (this.#rings.size === 0) this.#poll = environment.setInterval(() => void this.#look(), POLL_MS).unref()
    this.#rings.add(ring)
    return () => {
      this.#rings.delete(ring)
      if (this.#rings.size === 0) environment.clearInterval(this.#poll)
    }
  }

  #take({ queues, limit, visibilityMs }: Reservation, secret: string): Delivery[] {
    const now = this.#settings.now()
    const take = this.#connection.statement(TAKE)
    const deliveries: Delivery[] = []
    for (const queue of queues) {
      for (const id of this.#first(queue, now, limit - deliveries.length)) {
        const token = `${id}.${secret}`
        const row = take.get(token, now + Math.ceil(visibilityMs), id) as {
          deliveries: number
          body: Uint8Array
        }
        deliveries.push({ queue, token, deliveries: row.deliveries, ...ownBody(row) })
      }
    }
    return deliveries
  }

  /** The rows that may be handed out; what was held for too long comes first. */
  #first(queue: string, now: number, limit: number): number[] {
    const rows = this.#connection.statement(FIRST).all(queue, now, limit, queue, now, limit, limit)
    return (rows as { id: number }[]).map(({ id }) => id)
  }

  /** Until something may be handed out; 0: now. */
  #nextMs(queues: readonly string[]): Promise<number> {
    return this.#connection.read(() => {
      const next = this.#connection.statement(NEXT)
      const moments = queues.map((queue) => (next.get(queue, queue) as { next: number | null }).next)
      const first = Math.min(...moments.map((at) => at ?? Number.POSITIVE_INFINITY))
      return Math.max(0, first - this.#settings.now())
    })
  }

  #changed(sql: string, ...values: (string | number | Uint8Array | null)[]): boolean {
    return Number(this.#connection.statement(sql).run(...values).changes) > 0
  }

  async #write<T>(work: (now: number) => T): Promise<T> {
    const result = await this.#connection.write(() => work(this.#settings.now()))
    // The version tells of other connections only.
    for (const ring of this.#rings) ring()
    return result
  }

  async #look(): Promise<void> {
    try {
      const version = await this.#connection.read(() => this.#connection.dataVersion())
      if (version === this.#version) return
      this.#version = version
      for (const ring of this.#rings) ring()
    } catch {
      // A file that can't be read now is told by the next look for messages.
    }
  }
}

const ownBody = (row: unknown): Message => ({ body: new Uint8Array((row as { body: Uint8Array }).body) })

function needsMigration(db: Database, file: string): boolean {
  const { application_id: application } = db.prepare('PRAGMA application_id').get() as Record<string, number>
  const { tables, messages } = db
    .prepare("SELECT count(*) AS tables, coalesce(sum(name = 'messages'), 0) AS messages FROM sqlite_schema")
    .get() as Record<'tables' | 'messages', number>
  if (application === APPLICATION_ID) return messages === 0
  if (application === 0 && tables === 0) return true
  throw new DeferqError(
    'STORE_MISMATCH',
    `The SQLite database ${file} belongs to another program: give deferq a file of its own.`,
    { details: { file, application } },
  )
}

// Two narrow indices instead of one: what is ready is found without stepping over what is held, and the other way round.
const MIGRATION = `
  CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    ready_at INTEGER NOT NULL,
    deliveries INTEGER NOT NULL DEFAULT 0,
    token TEXT,
    lease_until INTEGER,
    body BLOB NOT NULL,
    CHECK ((token IS NULL) = (lease_until IS NULL))
  ) STRICT;
  CREATE INDEX IF NOT EXISTS messages_ready ON messages (queue, ready_at, id) WHERE token IS NULL;
  CREATE INDEX IF NOT EXISTS messages_held ON messages (queue, lease_until, id) WHERE token IS NOT NULL;
  PRAGMA application_id = ${APPLICATION_ID};
`

// An empty array of bytes is bound as NULL by some versions of the driver.
const INSERT = "INSERT INTO messages (queue, ready_at, body) VALUES (?, ?, ifnull(?, x''))"
const FIRST = `
  SELECT id FROM (
    SELECT id FROM messages WHERE queue = ? AND token IS NOT NULL AND lease_until <= ? ORDER BY lease_until, id LIMIT ?
  ) UNION ALL SELECT id FROM (
    SELECT id FROM messages WHERE queue = ? AND token IS NULL AND ready_at <= ? ORDER BY ready_at, id LIMIT ?
  ) LIMIT ?`
const TAKE = `
  UPDATE messages SET deliveries = deliveries + (token IS NOT NULL), token = ?, lease_until = ?
  WHERE id = ? RETURNING deliveries, body`
const BODY = 'SELECT body FROM messages WHERE id = ?'
const NEXT = `
  SELECT min(at) AS next FROM (
    SELECT min(ready_at) AS at FROM messages WHERE queue = ? AND token IS NULL
    UNION ALL SELECT min(lease_until) FROM messages WHERE queue = ? AND token IS NOT NULL
  )`
const HELD = 'id = ? AND token = ? AND lease_until > ?'
const ACK = `DELETE FROM messages WHERE ${HELD}`
const COPY = `
  INSERT INTO messages (queue, ready_at, body)
  SELECT ?, ?, CASE WHEN ? THEN ifnull(?, x'') ELSE body END FROM messages WHERE ${HELD}`
const DELETE = 'DELETE FROM messages WHERE id = ?'
const EXTEND = `UPDATE messages SET lease_until = ? WHERE ${HELD}`
const LEAVE = `
  UPDATE messages SET lease_until = ? WHERE queue = ? AND token IS NOT NULL AND lease_until > ? AND instr(token, ?) > 0`
const COUNT_READY = 'SELECT count(*) AS n FROM messages WHERE queue = ? AND token IS NULL AND ready_at <= ?'
const COUNT_DELAYED = 'SELECT count(*) AS n FROM messages WHERE queue = ? AND token IS NULL AND ready_at > ?'
const COUNT_ENDED =
  'SELECT count(*) AS n FROM messages WHERE queue = ? AND token IS NOT NULL AND lease_until <= ?'
const COUNT_RESERVED =
  'SELECT count(*) AS n FROM messages WHERE queue = ? AND token IS NOT NULL AND lease_until > ?'

function caveatsOf({ file, synchronous }: Settings): string[] {
  if (file === MEMORY) return ['Everything lies in this transport object: its end loses all messages.']
  const caveats = [
    'All processes that share the file run on one machine, and the file lies on a local disk: SQLite can’t lock a network share.',
  ]
  if (synchronous === 'normal') {
    caveats.push(
      'A crash of any or all processes loses nothing, but a loss of power may take the last moments; ?synchronous=full keeps them.',
    )
  }
  return caveats
}
