// A complete transport in one file: messages lie in lists of this process. Replace the lists by your broker.
//
// The laws stand at the head of the Transport contract. The helpers of deferq/transports check arguments and wait; what is
// left is moving bytes between three places: ready, delayed, and in the hands of a consumer.
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
} from 'deferq/transports'
import {
  checkBatch,
  checkExtension,
  checkOutgoing,
  checkPeek,
  checkReleases,
  checkReservation,
  DeferqError,
  deadLettersOf,
  Waits,
} from 'deferq/transports'

interface Stored extends Message {
  queue: string
  /** The order within the queue. A message that comes back from a lost consumer keeps its place. */
  place: number
  dueAt: number
  deliveries: number
  /** Set while a consumer holds the message. */
  held?: { token: string; until: number; consumer: object }
}

/** The broker: several transports of one process share it. Every method is one step. */
export class ListBroker {
  readonly #clock: () => number
  readonly #rings = new Set<() => void>()
  #messages: Stored[] = []
  #places = 0
  #tokens = 0

  constructor(clock: () => number = Date.now) {
    this.#clock = clock
  }

  publish({ queue, body, properties, delayMs = 0 }: Outgoing): void {
    const dueAt = this.#clock() + delayMs
    this.#messages.push({
      ...copyOf({ body, properties }),
      ...{ queue, dueAt, place: ++this.#places, deliveries: 0 },
    })
    this.ring()
  }

  reserve({ queues, limit, visibilityMs }: Reservation, consumer: object): Delivery[] {
    return queues
      .flatMap((queue) => this.#ready(queue))
      .slice(0, limit)
      .map((message) => {
        const token = String(++this.#tokens)
        message.held = { token, until: this.#clock() + visibilityMs, consumer }
        return { ...copyOf(message), queue: message.queue, token, deliveries: message.deliveries }
      })
  }

  /** When a look may find more: a delay or a visibility ends. */
  nextMs(queues: readonly string[]): number {
    const now = this.#clock()
    const moments = this.#messages
      .filter(({ queue }) => queues.includes(queue))
      .map(({ dueAt, held }) => held?.until ?? dueAt)
    return Math.max(1, Math.min(1_000, ...moments.map((at) => at - now)))
  }

  /** Takes a message out of its consumer's hands, if the consumer still owns it. */
  take({ token }: Delivery): Stored | undefined {
    this.#returnLate()
    const found = this.#messages.find(({ held }) => held?.token === token)
    if (found !== undefined) this.#messages = this.#messages.filter((each) => each !== found)
    return found
  }

  extend({ token }: Delivery, visibilityMs: number): Answer {
    this.#returnLate()
    const held = this.#messages.find((message) => message.held?.token === token)?.held
    if (held === undefined) return 'lost'
    held.until = this.#clock() + visibilityMs
    return 'done'
  }

  depth(queue: string): Depth {
    this.#returnLate()
    const all = this.#messages.filter((message) => message.queue === queue)
    const reserved = all.filter(({ held }) => held !== undefined).length
    const ready = this.#ready(queue).length
    return { queue, ready, reserved, delayed: all.length - reserved - ready }
  }

  peek(queue: string, limit: number): Message[] {
    return this.#ready(queue).slice(0, limit).map(copyOf)
  }

  /** A consumer is gone: the messages that it held are handed out again. */
  abandon(consumer: object): void {
    this.#return((held) => held.consumer === consumer)
    this.ring()
  }

  listen(ring: () => void): () => void {
    this.#rings.add(ring)
    return () => this.#rings.delete(ring)
  }

  ring(): void {
    for (const ring of this.#rings) ring()
  }

  #ready(queue: string): Stored[] {
    this.#returnLate()
    const now = this.#clock()
    return this.#messages
      .filter((message) => message.queue === queue && message.held === undefined && message.dueAt <= now)
      .sort((a, b) => a.dueAt - b.dueAt || a.place - b.place)
  }

  #returnLate(): void {
    const now = this.#clock()
    this.#return(({ until }) => until <= now)
  }

  #return(isLost: (held: NonNullable<Stored['held']>) => boolean): void {
    for (const message of this.#messages) {
      if (message.held === undefined || !isLost(message.held)) continue
      delete message.held
      message.deliveries++
    }
  }
}

export class ListTransport implements Transport {
  readonly name = 'list'
  readonly caveats: readonly string[] = ['All messages are lost when this process ends.']
  readonly #broker: ListBroker
  readonly #waits = new Waits()
  #closed = false

  constructor(broker: ListBroker = new ListBroker()) {
    this.#broker = broker
  }

  async open(): Promise<void> {
    this.#opened()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#waits.close()
    this.#broker.abandon(this)
  }

  async publish(messages: readonly Outgoing[]): Promise<void> {
    checkOutgoing(messages)
    for (const message of messages) this.#opened().publish(message)
  }

  async reserve(want: Reservation): Promise<Delivery[]> {
    checkReservation(want)
    const broker = this.#opened()
    return this.#waits.reserve(want, {
      look: async () => ({ deliveries: broker.reserve(want, this), nextMs: broker.nextMs(want.queues) }),
      listen: (ring) => broker.listen(ring),
      ringsLate: false,
      trouble: () => {},
    })
  }

  async ack(deliveries: readonly Delivery[]): Promise<Answer[]> {
    checkBatch(deliveries, 'ack')
    const broker = this.#opened()
    return deliveries.map((delivery) => (broker.take(delivery) === undefined ? 'lost' : 'done'))
  }

  async release(releases: readonly Release[]): Promise<Answer[]> {
    checkReleases(releases)
    return releases.map((release) => this.#move(release, (queue) => release.queue ?? queue))
  }

  async deadLetter(burials: readonly Burial[]): Promise<Answer[]> {
    checkBatch(burials, 'deadLetter')
    return burials.map((burial) => this.#move(burial, deadLettersOf))
  }

  async extend(deliveries: readonly Delivery[], visibilityMs: number): Promise<Answer[]> {
    checkExtension(deliveries, visibilityMs)
    return deliveries.map((delivery) => this.#opened().extend(delivery, visibilityMs))
  }

  async depth(queues: readonly string[]): Promise<Depth[]> {
    return queues.map((queue) => this.#opened().depth(queue))
  }

  async peek(queue: string, limit: number): Promise<Message[]> {
    checkPeek(queue, limit)
    return this.#opened().peek(queue, limit)
  }

  /** A broker in this process has no troubles between calls. */
  onTrouble(): () => void {
    return () => {}
  }

  #move({ delivery, delayMs, ...changed }: Release, to: (queue: string) => string): Answer {
    const broker = this.#opened()
    const message = broker.take(delivery)
    if (message === undefined) return 'lost'
    const { body = message.body, properties = message.properties } = changed
    broker.publish({ queue: to(message.queue), body, properties, delayMs })
    return 'done'
  }

  #opened(): ListBroker {
    if (!this.#closed) return this.#broker
    throw new DeferqError('CLOSED', 'This transport is closed. Open another one.')
  }
}

/** The broker's bytes are a copy: a caller that changes its bytes later changes no message. */
function copyOf({ body, properties }: Message): Message {
  const copy = new Uint8Array(body)
  return properties === undefined ? { body: copy } : { body: copy, properties: structuredClone(properties) }
}
