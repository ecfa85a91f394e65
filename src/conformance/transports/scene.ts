// What every conformance case of a transport works with: connections to one broker, queues of its own, and short verbs.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Delivery, Message, Outgoing, Reservation, Transport } from '../../contract/transport.ts'
import { deadLettersOf } from '../../contract/transport.ts'

/** One broker, and as many connections to it as a case asks for. */
export interface TransportHarness {
  /** A further, opened connection to the same broker. */
  connect(): Promise<Transport>
  /** Moves the broker's clock on by at least `ms`: an injected clock is set, for a real one this sleeps. */
  advance(ms: number): Promise<void>
  /** How long, by the broker's clock, a handful of calls may take at the most. Waits count in it too, so keep it small: 250. */
  unitMs: number
  close(): Promise<void>
}

export interface TransportFactory {
  name: string
  create(): Promise<TransportHarness>
  /** Cases by name that the broker can't keep, each with the reason, which the runner should show. */
  skips?: Readonly<Record<string, string>>
}

export class TransportScene {
  readonly #harness: TransportHarness
  readonly #opened: Transport[] = []
  /** Nobody else's, and empty at first. */
  readonly queue = `conformance-${randomBytes(6).toString('hex')}`
  readonly other = `${this.queue}-other`
  readonly dead = deadLettersOf(this.queue)
  transport!: Transport

  private constructor(harness: TransportHarness) {
    this.#harness = harness
  }

  static async set(factory: TransportFactory): Promise<TransportScene> {
    const scene = new TransportScene(await factory.create())
    scene.transport = await scene.connect()
    return scene
  }

  async strike(): Promise<void> {
    try {
      await Promise.all(this.#opened.map((transport) => transport.close()))
    } finally {
      await this.#harness.close()
    }
  }

  async connect(): Promise<Transport> {
    const transport = await this.#harness.connect()
    this.#opened.push(transport)
    return transport
  }

  connections(count: number): Promise<Transport[]> {
    return Promise.all(Array.from({ length: count }, () => this.connect()))
  }

  /** `count` units of time, in milliseconds. */
  units(count: number): number {
    return Math.round(this.#harness.unitMs * count)
  }

  advance(units: number): Promise<void> {
    // A little more than asked for, so that a broker which rounds to milliseconds is past the moment.
    return this.#harness.advance(this.units(units) + 5)
  }

  publish(bodies: readonly (string | Uint8Array)[], more: Partial<Outgoing> = {}): Promise<void> {
    const { transport } = this
    return transport.publish(bodies.map((body) => ({ queue: this.queue, body: bytes(body), ...more })))
  }

  want(want: Partial<Reservation> = {}): Reservation {
    return { queues: [this.queue], limit: 1, visibilityMs: this.units(40), ...want }
  }

  /** What there is now. */
  reserve(want: Partial<Reservation> = {}, transport = this.transport): Promise<Delivery[]> {
    return transport.reserve(this.want(want))
  }

  /** `count` messages that must be there, or come soon. */
  async take(
    count: number,
    want: Partial<Reservation> = {},
    transport = this.transport,
  ): Promise<Delivery[]> {
    const taken: Delivery[] = []
    const end = performance.now() + 10_000
    while (taken.length < count) {
      const limit = count - taken.length
      taken.push(...(await this.reserve({ ...want, limit, waitMs: 500 }, transport)))
      assert.ok(
        performance.now() < end,
        `${count} messages should come, and ${taken.length} did: ${texts(taken)}`,
      )
    }
    assert.equal(taken.length, count, 'no more than the limit is handed out')
    return taken
  }

  async takeOne(want: Partial<Reservation> = {}, transport = this.transport): Promise<Delivery> {
    return (await this.take(1, want, transport))[0] as Delivery
  }

  async none(want: Partial<Reservation> = {}, transport = this.transport): Promise<void> {
    assert.deepEqual(texts(await this.reserve({ limit: 10, ...want }, transport)), [])
  }

  /** Everything that is left in a queue, acked. */
  async drain(queue = this.queue): Promise<Delivery[]> {
    const drained: Delivery[] = []
    for (;;) {
      const found = await this.reserve({ queues: [queue], limit: 100, waitMs: this.units(1) })
      if (found.length === 0) return drained
      drained.push(...found)
      await this.transport.ack(found)
    }
  }
}

export const bytes = (body: string | Uint8Array): Uint8Array =>
  typeof body === 'string' ? new TextEncoder().encode(body) : body
export const text = ({ body }: Message): string => new TextDecoder().decode(body)
export const texts = (messages: readonly Message[]): string[] => messages.map(text)

/** How long something takes, by the real clock. */
export async function timed<T>(work: Promise<T>): Promise<{ value: T; ms: number }> {
  const began = performance.now()
  const value = await work
  return { value, ms: performance.now() - began }
}

export type TransportCases = Record<string, (scene: TransportScene) => Promise<void>>
