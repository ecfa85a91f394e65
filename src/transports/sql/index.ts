// The SQL transport: messages as rows of a PostgreSQL or SQLite database.
import { environment } from '../../base/environment.ts'
import { DeferqError } from '../../base/errors.ts'
import { checkBatch } from '../../contract/engine.ts'
import type {
  Answer,
  Burial,
  Delivery,
  Depth,
  Message,
  Outgoing,
  Release,
  Reservation,
  Transport,
} from '../../contract/transport.ts'
import {
  checkExtension,
  checkOutgoing,
  checkPeek,
  checkReleases,
  checkReservation,
  deadLettersOf,
} from '../../contract/transport.ts'
import type { PostgresOptions } from '../../drivers/postgres.ts'
import type { SqliteOptions } from '../../drivers/sqlite-settings.ts'
import { Waits } from '../../drivers/transport-wait.ts'
import type { Dialect, Move } from './dialect.ts'
import { rowOf } from './dialect.ts'
import { PostgresMessages } from './postgres.ts'
import { SqliteMessages } from './sqlite.ts'

export type SqlTransportOptions =
  /** postgres://…, and what a PostgreSQL driver takes; the table lies in this schema, 'deferq' by default. */
  | (PostgresOptions & { schema?: string })
  /** sqlite:…, and what a SQLite database takes. */
  | SqliteOptions

const LEAVE_MS = 500

export class SqlTransport implements Transport {
  readonly #messages: Dialect
  /** How all secrets of this consumer begin; nobody can guess it. */
  readonly #consumer = environment.randomBytes(9).toString('base64url')
  readonly #listeners = new Set<(error: DeferqError) => void>()
  readonly #waits = new Waits()
  readonly #reserved = new Set<string>()
  #calls = 0
  #opening: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(options: SqlTransportOptions) {
    const trouble = (error: DeferqError): void => this.#tell(error)
    const isSqlite = 'file' in options || /^sqlite:/i.test(options.url ?? '')
    this.#messages = isSqlite
      ? new SqliteMessages(options as SqliteOptions)
      : new PostgresMessages(options as PostgresOptions & { schema?: string }, trouble)
  }

  get name(): string {
    return this.#messages.name
  }

  get caveats(): readonly string[] {
    return ['The bytes travel alone: properties are not kept.', ...this.#messages.caveats]
  }

  async open(): Promise<void> {
    await this.#open()
  }

  close(): Promise<void> {
    this.#waits.close()
    this.#closing ??= this.#close()
    return this.#closing
  }

  async publish(messages: readonly Outgoing[]): Promise<void> {
    checkOutgoing(messages)
    await this.#open()
    if (messages.length > 0) await this.#messages.publish(messages)
  }

  async reserve(want: Reservation): Promise<Delivery[]> {
    checkReservation(want)
    await this.#open()
    for (const queue of want.queues) this.#reserved.add(queue)
    return this.#waits.reserve(want, {
      look: () => this.#messages.take(want, `${this.#consumer}.${(++this.#calls).toString(36)}`),
      listen: (ring) => this.#messages.listen(want.queues, ring),
      ringsLate: false,
      trouble: (error) => this.#tell(error),
    })
  }

  async ack(deliveries: readonly Delivery[]): Promise<Answer[]> {
    checkBatch(deliveries, 'ack')
    await this.#open()
    const tokens = new Set(known(deliveries))
    const held = tokens.size === 0 ? [] : await this.#messages.ack([...tokens])
    return onceEach(deliveries, held)
  }

  async release(releases: readonly Release[]): Promise<Answer[]> {
    checkReleases(releases)
    return this.#move(
      releases.map(({ delivery, queue = delivery.queue, delayMs = 0, body }) => ({
        delivery,
        queue,
        delayMs,
        body,
      })),
    )
  }

  async deadLetter(burials: readonly Burial[]): Promise<Answer[]> {
    checkBatch(burials, 'deadLetter')
    return this.#move(
      burials.map(({ delivery, body }) => ({
        delivery,
        queue: deadLettersOf(delivery.queue),
        delayMs: 0,
        body,
      })),
    )
  }

  async extend(deliveries: readonly Delivery[], visibilityMs: number): Promise<Answer[]> {
    checkExtension(deliveries, visibilityMs)
    await this.#open()
    const tokens = new Set(known(deliveries))
    const held = new Set(tokens.size === 0 ? [] : await this.#messages.extend([...tokens], visibilityMs))
    return deliveries.map(({ token }) => (held.has(token) ? 'done' : 'lost'))
  }

  async depth(queues: readonly string[]): Promise<Depth[]> {
    await this.#open()
    return this.#messages.depth(queues)
  }

  async peek(queue: string, limit: number): Promise<Message[]> {
    checkPeek(queue, limit)
    await this.#open()
    return this.#messages.peek(queue, limit)
  }

  onTrouble(hear: (error: DeferqError) => void): () => void {
    this.#listeners.add(hear)
    return () => this.#listeners.delete(hear)
  }

  /** Of two moves of one delivery in a batch, the first is done. */
  async #move(moves: readonly Move[]): Promise<Answer[]> {
    await this.#open()
    const firsts = new Map<string, Move>()
    for (const move of moves) {
      const { token } = move.delivery
      if (rowOf(token) !== undefined && !firsts.has(token)) firsts.set(token, move)
    }
    const held = firsts.size === 0 ? [] : await this.#messages.move([...firsts.values()])
    return onceEach(
      moves.map(({ delivery }) => delivery),
      held,
    )
  }

  #tell(error: DeferqError): void {
    for (const hear of this.#listeners) hear(error)
  }

  #open(): Promise<void> {
    if (this.#closing !== undefined) {
      return Promise.reject(
        new DeferqError('CLOSED', `This ${this.name} transport is closed: open a new one.`),
      )
    }
    this.#opening ??= this.#messages.open().catch((error: unknown) => {
      // The next call tries again.
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #close(): Promise<void> {
    await this.#opening?.catch(() => {})
    if (this.#opening !== undefined && this.#reserved.size > 0) {
      // What can't be handed back now is when its visibility is over.
      const leaving = this.#messages.leave(this.#consumer, [...this.#reserved]).catch(() => {})
      await Promise.race([
        leaving,
        new Promise<void>((resolve) => environment.setTimeout(resolve, LEAVE_MS).unref()),
      ])
    }
    await this.#messages.close()
    this.#listeners.clear()
  }
}

/** Tokens that may be some of ours. */
const known = (deliveries: readonly Delivery[]): string[] =>
  deliveries.map(({ token }) => token).filter((token) => rowOf(token) !== undefined)

/** 'done' for the first of each token that was held. */
function onceEach(deliveries: readonly Delivery[], held: readonly string[]): Answer[] {
  const left = new Set(held)
  return deliveries.map(({ token }) => (left.delete(token) ? 'done' : 'lost'))
}
