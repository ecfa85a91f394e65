// The memory transport: a broker within this process. The plainest form of the contract, to be read as its specification.

import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import { PriorityQueue } from '../base/priority-queue.ts'
import { sleep } from '../base/time.ts'
import { checkBatch } from '../contract/engine.ts'
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
} from '../contract/transport.ts'
import {
  checkExtension,
  checkOutgoing,
  checkPeek,
  checkReleases,
  checkReservation,
  deadLettersOf,
} from '../contract/transport.ts'

interface Stored extends Message {
  queue: string
  /** Its place in line, kept when it comes back from a consumer that is gone. */
  place: number
  dueAt: number
  deliveries: number
}

/** A message in a consumer's hands. */
interface Held {
  token: string
  message: Stored
  consumer: object
  until: number
}

interface Queue {
  ready: PriorityQueue<Stored>
  delayed: PriorityQueue<Stored>
}

interface Waiter {
  queues: readonly string[]
  consumer: object
  wake(): void
}

/** What several `MemoryTransport`s share. Every method is one atomic step: nothing is awaited within. */
export class MemoryBroker {
  readonly #now: () => number
  readonly #queues = new Map<string, Queue>()
  readonly #held = new Map<string, Held>()
  /** By the end of their visibility; one that was given back or extended since is passed over. */
  readonly #ends = new PriorityQueue<{ token: string; until: number }>((a, b) => a.until - b.until)
  readonly #waiters = new Set<Waiter>()
  #places = 0
  #tokens = 0

  constructor({ now = environment.now }: { now?: () => number } = {}) {
    this.#now = now
  }

  publish({ queue, body, properties, delayMs = 0 }: Outgoing): void {
    this.#advance()
    const dueAt = this.#now() + delayMs
    const message = { ...copyOf({ body, properties }), queue, place: ++this.#places, dueAt, deliveries: 0 }
    const { ready, delayed } = this.#queue(queue)
    if (delayMs > 0) delayed.push(message)
    else ready.push(message)
    this.#wake(queue)
  }

  reserve({ queues, limit, visibilityMs }: Reservation, consumer: object): Delivery[] {
    this.#advance()
    const deliveries: Delivery[] = []
    for (const name of queues) {
      const ready = this.#queues.get(name)?.ready
      while (deliveries.length < limit) {
        const message = ready?.pop()
        if (message === undefined) break
        const token = String(++this.#tokens)
        const until = this.#now() + visibilityMs
        this.#held.set(token, { token, message, consumer, until })
        this.#ends.push({ token, until })
        deliveries.push({ ...copyOf(message), queue: name, token, deliveries: message.deliveries })
      }
    }
    return deliveries
  }

  ack({ token }: Delivery): Answer {
    return this.#take(token) === undefined ? 'lost' : 'done'
  }

  release({ delivery, queue, delayMs = 0, ...changed }: Release): Answer {
    const message = this.#take(delivery.token)
    if (message === undefined) return 'lost'
    const { body = message.body, properties = message.properties } = changed
    this.publish({ queue: queue ?? message.queue, body, properties, delayMs })
    return 'done'
  }

  deadLetter({ delivery, ...changed }: Burial): Answer {
    const queue = this.#held.get(delivery.token)?.message.queue ?? delivery.queue
    return this.release({ ...changed, delivery, queue: deadLettersOf(queue) })
  }

  extend({ token }: Delivery, visibilityMs: number): Answer {
    this.#advance()
    const held = this.#held.get(token)
    if (held === undefined) return 'lost'
    held.until = this.#now() + visibilityMs
    this.#ends.push({ token, until: held.until })
    return 'done'
  }

  depth(queue: string): Depth {
    this.#advance()
    const { ready, delayed } = this.#queues.get(queue) ?? {}
    let reserved = 0
    for (const { message } of this.#held.values()) if (message.queue === queue) reserved++
    return { queue, ready: ready?.size ?? 0, delayed: delayed?.size ?? 0, reserved }
  }

  peek(queue: string, limit: number): Message[] {
    this.#advance()
    return (this.#queues.get(queue)?.ready.sorted() ?? []).slice(0, limit).map(copyOf)
  }

  /** A consumer is gone: what it held is handed out again, and it waits for nothing more. */
  abandon(consumer: object): void {
    for (const held of this.#held.values()) if (held.consumer === consumer) this.#handBack(held)
    for (const waiter of this.#waiters) if (waiter.consumer === consumer) waiter.wake()
  }

  /** Waits until something may have become ready in one of the queues. */
  async ready({ queues, signal }: Reservation, waitMs: number, consumer: object): Promise<void> {
    const woken = new AbortController()
    const wake = (): void => woken.abort()
    const waiter = { queues, consumer, wake }
    this.#waiters.add(waiter)
    signal?.addEventListener('abort', wake)
    const delays = queues.map((name) => this.#queues.get(name)?.delayed.peek()?.dueAt)
    const moments = [...delays, this.#ends.peek()?.until].map((at) => at ?? Number.POSITIVE_INFINITY)
    await sleep(Math.min(waitMs, Math.max(1, Math.min(...moments) - this.#now())), woken.signal)
    signal?.removeEventListener('abort', wake)
    this.#waiters.delete(waiter)
  }

  /** What is due gets in line, and what was held for too long goes back to its place. */
  #advance(): void {
    const now = this.#now()
    for (const { ready, delayed } of this.#queues.values()) {
      for (let first = delayed.peek(); first !== undefined && first.dueAt <= now; first = delayed.peek()) {
        delayed.pop()
        ready.push({ ...first, place: ++this.#places })
      }
    }
    for (let end = this.#ends.peek(); end !== undefined && end.until <= now; end = this.#ends.peek()) {
      this.#ends.pop()
      const held = this.#held.get(end.token)
      if (held !== undefined && held.until <= now) this.#handBack(held)
    }
  }

  /** Takes a message out of its consumer's hands, if it still is in them. */
  #take(token: string): Stored | undefined {
    this.#advance()
    const held = this.#held.get(token)
    this.#held.delete(token)
    return held?.message
  }

  #handBack({ token, message }: Held): void {
    this.#held.delete(token)
    message.deliveries++
    this.#queue(message.queue).ready.push(message)
    this.#wake(message.queue)
  }

  #queue(name: string): Queue {
    let queue = this.#queues.get(name)
    if (queue === undefined) {
      queue = {
        ready: new PriorityQueue((a, b) => a.place - b.place),
        delayed: new PriorityQueue((a, b) => a.dueAt - b.dueAt || a.place - b.place),
      }
      this.#queues.set(name, queue)
    }
    return queue
  }

  #wake(queue: string): void {
    for (const waiter of this.#waiters) if (waiter.queues.includes(queue)) waiter.wake()
  }
}

/** A connection to a `MemoryBroker`: of its own, unless one is handed over. */
export class MemoryTransport implements Transport {
  readonly name = 'memory'
  readonly caveats: readonly string[] = ['Everything lies in this process: its end loses all messages.']
  readonly #broker: MemoryBroker
  #closed = false

  constructor(options: { broker?: MemoryBroker; now?: () => number } = {}) {
    this.#broker = options.broker ?? new MemoryBroker(options)
  }

  async open(): Promise<void> {
    this.#check()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#broker.abandon(this)
  }

  async publish(messages: readonly Outgoing[]): Promise<void> {
    this.#check()
    checkOutgoing(messages)
    for (const message of messages) this.#broker.publish(message)
  }

  async reserve(want: Reservation): Promise<Delivery[]> {
    this.#check()
    checkReservation(want)
    const deadline = environment.monotonic() + (want.waitMs ?? 0)
    while (!this.#closed) {
      const deliveries = this.#broker.reserve(want, this)
      const left = deadline - environment.monotonic()
      if (deliveries.length > 0 || left <= 0 || want.signal?.aborted) return deliveries
      await this.#broker.ready(want, left, this)
    }
    return []
  }

  async ack(deliveries: readonly Delivery[]): Promise<Answer[]> {
    this.#check()
    checkBatch(deliveries, 'ack')
    return deliveries.map((delivery) => this.#broker.ack(delivery))
  }

  async release(releases: readonly Release[]): Promise<Answer[]> {
    this.#check()
    checkReleases(releases)
    return releases.map((release) => this.#broker.release(release))
  }

  async deadLetter(burials: readonly Burial[]): Promise<Answer[]> {
    this.#check()
    checkBatch(burials, 'deadLetter')
    return burials.map((burial) => this.#broker.deadLetter(burial))
  }

  async extend(deliveries: readonly Delivery[], visibilityMs: number): Promise<Answer[]> {
    this.#check()
    checkExtension(deliveries, visibilityMs)
    return deliveries.map((delivery) => this.#broker.extend(delivery, visibilityMs))
  }

  async depth(queues: readonly string[]): Promise<Depth[]> {
    this.#check()
    return queues.map((queue) => this.#broker.depth(queue))
  }

  async peek(queue: string, limit: number): Promise<Message[]> {
    this.#check()
    checkPeek(queue, limit)
    return this.#broker.peek(queue, limit)
  }

  /** Within one process there is none. */
  onTrouble(): () => void {
    return () => {}
  }

  #check(): void {
    if (this.#closed) {
      throw new DeferqError('CLOSED', 'This memory transport is closed: open a new one.')
    }
  }
}

/** The broker's own: what its holder does to the bytes afterwards changes nothing. */
function copyOf({ body, properties }: Message): Message {
  const own = new Uint8Array(body)
  return properties === undefined ? { body: own } : { body: own, properties: structuredClone(properties) }
}
