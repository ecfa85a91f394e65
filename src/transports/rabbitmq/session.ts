// A channel that consumes one queue. A subscription lives only while somebody waits, for as many messages as asked for.
//
// AMQP would rather push ahead of demand. But a message that lies in a process unasked is kept from others, and counted as
// delivered when that process dies; so here the broker pushes nothing that is not handed out at once.

import type { Channel, ConsumeMessage } from 'amqplib'
import { environment } from '../../base/environment.ts'
import type { Link } from './link.ts'

/** What the library sends its own calls with, and does not tell of. */
interface Wire extends Channel {
  sendImmediately(method: number, fields: object): void
}

// As AMQP numbers its methods: class 60, `basic`.
const CONSUME = (60 << 16) | 20
const CANCEL = (60 << 16) | 30

export class Session {
  readonly queue: string
  alive = true
  readonly #link: Link
  readonly #channel: Wire
  readonly #subscriptions = new Map<string, Subscription>()
  readonly #tags: string
  /** What was delivered and neither acked nor given back. */
  readonly #held = new Set<number>()
  /** A consumer keeps the limit that its channel has when it begins; these need another, and each begins behind a sync that sets it. */
  readonly #beginning: Subscription[] = []
  #count = 0
  /** As the broker was told last. */
  #prefetch = 0
  /** Why the broker closed it, as far as it has. */
  #fault: unknown
  #syncing: Promise<unknown> | undefined
  #nextSync: Promise<void> | undefined

  private constructor(queue: string, link: Link, channel: Wire) {
    this.queue = queue
    this.#link = link
    this.#channel = channel
    this.#tags = `deferq-${environment.random().toString(36).slice(2, 10)}`
  }

  /** `ended` hears why, when the broker or the connection ends it. */
  static async open(
    queue: string,
    link: Link,
    deadline: number,
    ended: (session: Session, error: unknown) => void,
  ): Promise<Session> {
    const model = await link.model(deadline)
    const channel = await link.answer(model.createChannel(), deadline)
    const session = new Session(queue, link, channel as Wire)
    channel.on('error', (error) => {
      session.#fault = error
    })
    channel.once('close', () => {
      session.alive = false
      for (const subscription of session.#subscriptions.values()) subscription.end()
      ended(session, session.#fault)
    })
    // The library's own way to the consumer breaks the channel when one comes after a cancel.
    channel.removeAllListeners('delivery').on('delivery', (message) => session.#deliver(message))
    channel.removeAllListeners('cancel').on('cancel', ({ consumerTag }) => {
      session.#subscriptions.get(consumerTag)?.end()
    })
    return session
  }

  /** Takes up to `limit` that are ready, and those that become ready until it is ended. */
  async subscribe(limit: number, deadline: number): Promise<Subscription> {
    const subscription = new Subscription(`${this.#tags}-${++this.#count}`, limit)
    this.#subscriptions.set(subscription.tag, subscription)
    try {
      if (limit === this.#prefetch) this.#consume(subscription)
      else this.#beginning.push(subscription)
      while (this.#beginning.includes(subscription)) await this.sync(deadline)
      // With all it may have there is nothing to wait for.
      await Promise.race([subscription.full, this.sync(deadline)])
      return subscription
    } catch (error) {
      this.#subscriptions.delete(subscription.tag)
      throw error
    }
  }

  /** After it, the subscription gets nothing more. */
  async unsubscribe(subscription: Subscription, deadline: number): Promise<void> {
    this.#send(CANCEL, { consumerTag: subscription.tag, nowait: true })
    try {
      // One that is full gets nothing more until it acks, which comes behind this. Else the first answer says that the broker has
      // ended it, and what was on its way then comes in front of the second.
      for (let answers = 0; answers < 2 && !subscription.isFull; answers++) {
        await Promise.race([subscription.full, this.sync(deadline)])
      }
    } finally {
      this.#subscriptions.delete(subscription.tag)
      subscription.end()
    }
  }

  /** One frame for as many as come before all that is still held: for a quorum queue, each frame is an entry of its log. */
  ack(tags: readonly number[]): void {
    for (const tag of tags) this.#held.delete(tag)
    if (!this.alive) return
    // They came in the order of their tags.
    const [oldest = Number.POSITIVE_INFINITY] = this.#held
    const upTo = Math.max(0, ...tags.filter((tag) => tag < oldest))
    if (upTo > 0) this.#channel.ack(messageOf(upTo), true)
    for (const tag of tags) if (tag > oldest) this.#channel.ack(messageOf(tag))
  }

  /** To its old place in the queue, and counted. */
  giveBack(tag: number): void {
    this.#held.delete(tag)
    if (this.alive) this.#channel.nack(messageOf(tag), false, true)
  }

  /** A round trip: the broker has all that was sent before. Those who ask while one is under way share the next. */
  sync(deadline: number): Promise<void> {
    const begin = async (): Promise<void> => {
      this.#nextSync = undefined
      let syncing: Promise<unknown> | undefined
      const next = this.#beginning.shift()
      if (next !== undefined) this.#prefetch = next.limit
      try {
        syncing = this.#channel.prefetch(this.#prefetch)
        this.#syncing = syncing
        if (next !== undefined) this.#consume(next)
        await this.#link.answer(syncing, deadline)
      } catch (error) {
        // Closed, or about to be: the link cuts a connection that does not answer.
        this.alive = false
        throw this.#fault ?? error
      } finally {
        if (this.#syncing === syncing) this.#syncing = undefined
      }
    }
    if (this.#syncing === undefined) return begin()
    this.#nextSync ??= this.#syncing.then(begin, begin)
    return this.#nextSync
  }

  async close(): Promise<void> {
    if (this.alive) await this.#channel.close().catch(() => undefined)
  }

  #consume({ tag: consumerTag }: Subscription): void {
    this.#send(CONSUME, { queue: this.queue, consumerTag, nowait: true, arguments: {} })
  }

  /** Without an answer, so that several take one way to the broker together. A closed channel says so at the next sync. */
  #send(method: number, fields: object): void {
    if (this.alive) this.#channel.sendImmediately(method, fields)
  }

  #deliver(message: ConsumeMessage): void {
    this.#held.add(message.fields.deliveryTag)
    const subscription = this.#subscriptions.get(message.fields.consumerTag)
    if (subscription !== undefined) subscription.add(message)
    // In a cluster, one may come from another node after all.
    else this.giveBack(message.fields.deliveryTag)
  }
}

export class Subscription {
  readonly tag: string
  readonly limit: number
  readonly messages: ConsumeMessage[] = []
  /** Settles when there is a message, or never will be. */
  readonly first: Promise<void>
  /** Settles when there are as many as asked for; never otherwise. */
  readonly full: Promise<void>
  #begin!: () => void
  #fill!: () => void

  constructor(tag: string, limit: number) {
    this.tag = tag
    this.limit = limit
    this.first = new Promise((resolve) => {
      this.#begin = resolve
    })
    this.full = new Promise((resolve) => {
      this.#fill = resolve
    })
  }

  get isFull(): boolean {
    return this.messages.length >= this.limit
  }

  add(message: ConsumeMessage): void {
    this.messages.push(message)
    this.#begin()
    if (this.isFull) this.#fill()
  }

  end(): void {
    this.#begin()
  }
}

// All that the library looks at.
const messageOf = (deliveryTag: number) => ({ fields: { deliveryTag } }) as ConsumeMessage
