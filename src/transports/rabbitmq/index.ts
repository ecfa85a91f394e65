// The RabbitMQ transport: quorum queues, confirmed publishes, delays in the broker, and leases that this process keeps.

import type { ConnectionOptions } from 'node:tls'
import { environment } from '../../base/environment.ts'
import type { DeferqError } from '../../base/errors.ts'
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
  checkReleases,
  checkReservation,
  deadLettersOf,
} from '../../contract/transport.ts'
import { Consumer } from './consumer.ts'
import { MAX_DELAY_MS } from './delays.ts'
import { closed, codeOf, judge, NOT_FOUND } from './faults.ts'
import type { Holding } from './holdings.ts'
import { Holdings } from './holdings.ts'
import { Link } from './link.ts'
import { optionsAsCame, optionsOf } from './messages.ts'
import type { Sending } from './publisher.ts'
import { Publisher } from './publisher.ts'
import { Queues } from './queues.ts'
import type { Session } from './session.ts'
import { readUrl } from './url.ts'

export interface RabbitmqOptions {
  /** amqp://user:password@host/vhost, amqps://…, or amqp://user:password@node1,node2/vhost. */
  url: string
  /** How long a call may take before it is refused with STORE_UNAVAILABLE (5,000). */
  timeoutMs?: number
  /** For amqps, beside what the URL says. */
  tls?: ConnectionOptions
}

/** How long a delivery may lag behind its queue's own count. */
const LAG_MS = 100
const QUIET_MS = 10_000

export class RabbitmqTransport implements Transport {
  readonly name = 'rabbitmq'
  readonly caveats = [
    'A queue that was made within a second before a crash of its only broker may be gone with it.',
    'An ack, like all of AMQP, can be overtaken by the loss of the connection: the message is then handed out again.',
    'A release or a dead letter is two steps, the new message first: a crash in between makes two of it, never none.',
    'A publish whose connection is lost is sent again: where the confirm was lost, there are two of it.',
    'The visibility is kept by the consumer. One that is frozen or cut off holds its messages until the broker misses its heartbeats: up to 30 s.',
    'A message held for longer than the consumer_timeout of the broker (30 minutes unless configured) is handed out again; from RabbitMQ 3.12 on, the queues made here allow 7 days.',
    'A look (peek) counts as a delivery, and the depth tells neither what is delayed nor what is reserved.',
    `A delay is at most ${Math.floor(MAX_DELAY_MS / 86_400_000)} days, and ends up to 50 ms late.`,
    'In a classic queue, made by somebody else, deliveries is 1 at most.',
    'After 100 deliveries the broker itself moves a message to the dead letters.',
  ]
  readonly #where: string
  readonly #timeoutMs: number
  // A broker with an alarm reads nothing more from a connection that publishes, acks included: so there are two.
  readonly #publishing: Link
  readonly #consuming: Link
  readonly #queues = new Queues()
  readonly #holdings = new Holdings()
  readonly #publisher: Publisher
  readonly #consumer: Consumer
  readonly #hearing = new Set<(error: DeferqError) => void>()
  readonly #toldAt = new Map<string, number>()
  readonly #stop = new AbortController()
  readonly #reserving = new Set<Promise<unknown>>()
  #closing: Promise<void> | undefined

  constructor({ url, timeoutMs = 5_000, tls }: RabbitmqOptions) {
    const target = readUrl(url)
    const trouble = (error: DeferqError): void => this.#tell(error)
    const settings = { target, timeoutMs, trouble, ...(tls === undefined ? {} : { tls }) }
    this.#where = target.masked
    this.#timeoutMs = timeoutMs
    this.#publishing = new Link(settings)
    this.#consuming = new Link(settings)
    this.#publisher = new Publisher(this.#publishing, this.#queues, timeoutMs)
    this.#consumer = new Consumer(this.#consuming, this.#queues, this.#holdings, timeoutMs, (error) =>
      this.#tell(judge(error, this.#where)),
    )
  }

  async open(): Promise<void> {
    this.#refuseWhenClosed()
    await Promise.all([this.#publishing.model(this.#deadline()), this.#consuming.model(this.#deadline())])
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#stop.abort()
    // Bounded, as each of them is.
    await Promise.allSettled([this.#publisher.idle(), ...this.#reserving])
    this.#holdings.close()
    await Promise.all([this.#publishing.close(), this.#consuming.close()])
  }

  async publish(messages: readonly Outgoing[]): Promise<void> {
    this.#refuseWhenClosed()
    checkOutgoing(messages)
    await this.#publisher.send(
      messages.map(({ queue, delayMs = 0, body, properties }) => ({
        queue,
        delayMs,
        body,
        options: optionsOf(properties),
      })),
    )
  }

  async reserve(want: Reservation): Promise<Delivery[]> {
    this.#refuseWhenClosed()
    checkReservation(want)
    const { signal } = want
    const stop = new AbortController()
    const abort = (): void => stop.abort()
    for (const each of [signal, this.#stop.signal]) {
      if (each?.aborted) abort()
      else each?.addEventListener('abort', abort)
    }
    const reserved = this.#reserve(want, stop.signal)
    this.#reserving.add(reserved)
    try {
      return await reserved
    } finally {
      this.#reserving.delete(reserved)
      for (const each of [signal, this.#stop.signal]) each?.removeEventListener('abort', abort)
    }
  }

  /** A queue counts what was just published, or came back, a little before it hands it out: an empty answer is checked. */
  async #reserve(want: Reservation, stop: AbortSignal): Promise<Delivery[]> {
    const found = await this.#consumer.reserve(want, stop)
    if (found.length > 0 || (want.waitMs ?? 0) > 0 || stop.aborted) return found
    const counts = await Promise.all(want.queues.map((queue) => this.#count(queue)))
    const queues = want.queues.filter((_queue, at) => counts[at])
    return queues.length === 0 ? found : this.#consumer.reserve({ ...want, queues, waitMs: LAG_MS }, stop)
  }

  async ack(deliveries: readonly Delivery[]): Promise<Answer[]> {
    this.#refuseWhenClosed()
    checkBatch(deliveries, 'ack')
    const ended = deliveries.map(({ token }) => this.#holdings.end(token))
    await this.#ack(ended)
    return ended.map((holding) => (holding?.session.alive ? 'done' : 'lost'))
  }

  async release(releases: readonly Release[]): Promise<Answer[]> {
    this.#refuseWhenClosed()
    checkReleases(releases)
    return this.#move(releases, ({ delivery, queue = delivery.queue, delayMs = 0 }) => ({ queue, delayMs }))
  }

  async deadLetter(burials: readonly Burial[]): Promise<Answer[]> {
    this.#refuseWhenClosed()
    checkBatch(burials, 'deadLetter')
    return this.#move(burials, ({ delivery }) => ({ queue: deadLettersOf(delivery.queue), delayMs: 0 }))
  }

  async extend(deliveries: readonly Delivery[], visibilityMs: number): Promise<Answer[]> {
    this.#refuseWhenClosed()
    checkExtension(deliveries, visibilityMs)
    const extended = deliveries.map(({ token }) => this.#holdings.extend(token, visibilityMs))
    // A process that was frozen learns here that its connection is gone, before it believes to hold anything.
    await this.#sync(extended)
    return extended.map((holding) => (holding !== undefined && this.#holdings.has(holding) ? 'done' : 'lost'))
  }

  async depth(queues: readonly string[]): Promise<Depth[]> {
    this.#refuseWhenClosed()
    const depths: Depth[] = []
    for (const queue of queues) depths.push({ queue, ready: (await this.#count(queue)) ?? 0 })
    return depths
  }

  async peek(queue: string, limit: number): Promise<Message[]> {
    this.#refuseWhenClosed()
    checkReservation({ queues: [queue], limit, visibilityMs: 1 })
    if (!(await this.#count(queue))) return []
    try {
      const seen = await this.#consumer.peek(queue, limit)
      return seen.map(({ body, properties }) => (properties === undefined ? { body } : { body, properties }))
    } catch (error) {
      throw judge(error, this.#where)
    }
  }

  onTrouble(hear: (error: DeferqError) => void): () => void {
    this.#hearing.add(hear)
    return () => void this.#hearing.delete(hear)
  }

  /** The new message first, then the end of the old. */
  async #move<Moving extends Partial<Message> & { delivery: Delivery }>(
    movings: readonly Moving[],
    to: (moving: Moving) => Pick<Sending, 'queue' | 'delayMs'>,
  ): Promise<Answer[]> {
    const ended = movings.map(({ delivery }) => this.#holdings.end(delivery.token))
    const sendings = movings.flatMap((moving, index): Sending[] => {
      const holding = ended[index]
      if (holding === undefined) return []
      const { delivery, body = delivery.body, properties } = moving
      const options = properties === undefined ? optionsAsCame(holding.came) : optionsOf(properties)
      return [{ ...to(moving), body, options }]
    })
    try {
      await this.#publisher.send(sendings)
    } catch (error) {
      for (const holding of ended) if (holding !== undefined) this.#holdings.restore(holding)
      throw error
    }
    await this.#ack(ended)
    return ended.map((holding) => (holding === undefined ? 'lost' : 'done'))
  }

  async #ack(ended: readonly (Holding | undefined)[]): Promise<void> {
    const bySession = new Map<Session, number[]>()
    for (const holding of ended) {
      if (holding === undefined) continue
      const tags = bySession.get(holding.session)
      if (tags === undefined) bySession.set(holding.session, [holding.tag])
      else tags.push(holding.tag)
    }
    for (const [session, tags] of bySession) session.ack(tags)
    await this.#sync(ended)
  }

  /** Once the broker has heard everything, or the channel is known to be lost. */
  async #sync(holdings: readonly (Holding | undefined)[]): Promise<void> {
    const sessions = new Set(holdings.flatMap((holding) => holding?.session ?? []))
    const deadline = this.#deadline()
    // One that fails has lost its channel, which is what the answers look at.
    await Promise.all([...sessions].map((session) => session.sync(deadline).catch(() => undefined)))
  }

  async #count(queue: string): Promise<number | undefined> {
    try {
      const asked = await this.#consuming.within(this.#deadline(), (channel) => channel.checkQueue(queue))
      return asked.messageCount
    } catch (error) {
      if (codeOf(error) === NOT_FOUND) return undefined
      throw judge(error, this.#where)
    }
  }

  #tell(error: DeferqError): void {
    const now = environment.monotonic()
    // A broker that is away fails several times a second.
    if (now - (this.#toldAt.get(error.message) ?? Number.NEGATIVE_INFINITY) < QUIET_MS) return
    if (this.#toldAt.size >= 100) this.#toldAt.clear()
    this.#toldAt.set(error.message, now)
    for (const hear of this.#hearing) hear(error)
  }

  #refuseWhenClosed(): void {
    if (this.#closing !== undefined) throw closed(this.#where)
  }

  #deadline(): number {
    return environment.monotonic() + this.#timeoutMs
  }
}
