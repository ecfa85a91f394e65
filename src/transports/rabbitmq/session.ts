// A channel that consumes one queue. A subscription lives only while somebody waits, for as many messages as asked for.
//
// AMQP would rather push ahead of demand. But a message that lies in a process unasked is kept from others, and counted as
// delivered when that process dies; so here the broker pushes nothing that is not handed out at once.
import type { Channel, ConsumeMessage } from 'amqplib'
import type { Link } from './link.ts'

export class Session {
  readonly queue: string
  alive = true
  readonly #link: Link
  readonly #channel: Channel
  readonly #subscriptions = new Map<string, Subscription>()
  readonly #tags: string
  #count = 0
  #prefetch = 0
  #syncing: Promise<unknown> | undefined
  #nextSync: Promise<void> | undefined

  private constructor(queue: string, link: Link, channel: Channel) {
    this.queue = queue
    this.#link = link
    this.#channel = channel
    this.#tags = `deferq-${Math.random().toString(36).slice(2, 10)}`
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
    const session = new Session(queue, link, channel)
    let reason: unknown
    channel.on('error', (error) => {
      reason = error
    })
    channel.once('close', () => {
      session.alive = false
      for (const subscription of session.#subscriptions.values()) subscription.end()
      ended(session, reason)
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
    const tag = `${this.#tags}-${++this.#count}`
    const subscription = new Subscription(tag)
    this.#subscriptions.set(tag, subscription)
    try {
      if (limit !== this.#prefetch) {
        this.#prefetch = limit
        // It fails together with what follows it.
        this.#channel.prefetch(limit).catch(() => undefined)
      }
      const consuming = this.#channel.consume(this.queue, () => undefined, { consumerTag: tag })
      await this.#link.answer(consuming, deadline)
      return subscription
    } catch (error) {
      this.#subscriptions.delete(tag)
      throw error
    }
  }

  /** After it, the subscription gets nothing more. */
  async unsubscribe(subscription: Subscription, deadline: number): Promise<void> {
    try {
      await this.#link.answer(this.#channel.cancel(subscription.tag), deadline)
      // What was on its way comes in front of this answer.
      if (subscription.messages.length < this.#prefetch) await this.sync(deadline)
    } finally {
      this.#subscriptions.delete(subscription.tag)
      subscription.end()
    }
  }

  ack(tag: number): void {
    if (this.alive) this.#channel.ack(messageOf(tag))
  }

  /** To its old place in the queue, and counted. */
  giveBack(tag: number): void {
    if (this.alive) this.#channel.nack(messageOf(tag), false, true)
  }

  /** A round trip: the broker has all that was sent before. Those who ask while one is under way share the next. */
  sync(deadline: number): Promise<void> {
    const begin = async (): Promise<void> => {
      this.#nextSync = undefined
      const syncing = this.#channel.prefetch(this.#prefetch)
      this.#syncing = syncing
      try {
        await this.#link.answer(syncing, deadline)
      } catch (error) {
        // Closed, or about to be: the link cuts a connection that does not answer.
        this.alive = false
        throw error
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

  #deliver(message: ConsumeMessage): void {
    const subscription = this.#subscriptions.get(message.fields.consumerTag)
    if (subscription !== undefined) subscription.add(message)
    // In a cluster, one may come from another node after all.
    else this.giveBack(message.fields.deliveryTag)
  }
}

export class Subscription {
  readonly tag: string
  readonly messages: ConsumeMessage[] = []
  /** Settles when there is a message, or never will be. */
  readonly first: Promise<void>
  #settle!: () => void

  constructor(tag: string) {
    this.tag = tag
    this.first = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  add(message: ConsumeMessage): void {
    this.messages.push(message)
    this.#settle()
  }

  end(): void {
    this.#settle()
  }
}

// All that the library looks at.
const messageOf = (deliveryTag: number) => ({ fields: { deliveryTag } }) as ConsumeMessage
