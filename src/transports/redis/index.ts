// The Redis transport: lists, a sorted set for delays, and leases on what is in consumers' hands.
import type { ConnectionOptions } from 'node:tls'
import { DeferqError, isDeferqError } from '../../base/errors.ts'
import { sleep } from '../../base/time.ts'
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
import { caveatsOf } from '../../drivers/redis-caveats.ts'
import { Troubles } from '../../drivers/redis-troubles.ts'
import type { Target } from '../../drivers/redis-url.ts'
import { readUrl } from '../../drivers/redis-url.ts'
import type { Look } from '../../drivers/transport-wait.ts'
import { Waits } from '../../drivers/transport-wait.ts'
import { inPlaces } from './batches.ts'
import { MAX_BELLS } from './bells.ts'
import { Keys } from './keys.ts'
import { Session } from './session.ts'
import { Settling } from './settling.ts'

export interface RedisTransportOptions {
  /** redis://, rediss://, redis+cluster://, redis+sentinel:// and the like; options: prefix, name. */
  url: string
  /** How long a call may take before it fails with STORE_UNAVAILABLE; 5 seconds by default. */
  timeoutMs?: number
  /** Certificates and the like, for rediss:// */
  tls?: ConnectionOptions
}

interface Opened {
  session: Session
  settling: Settling
}

/** A lost wake-up, or a lease that was shortened elsewhere, costs a wait this much at the most. */
const POLL_MS = 1_000
/** Where there are more queues than connections to wait with. */
const QUICK_POLL_MS = 250
const LEAVE_MS = 500

const CLUSTER_CAVEATS = [
  'On a cluster the keys of a queue carry its name as a hash tag: others have to write {queue} too.',
  'On a cluster a release to another queue takes two steps: a crash in between makes two messages of one, never none.',
]

export class RedisTransport implements Transport {
  readonly name = 'redis'
  readonly #target: Target
  readonly #settings: { timeoutMs: number; tls?: ConnectionOptions }
  readonly #keys: Keys
  readonly #listeners = new Set<(error: DeferqError) => void>()
  readonly #troubles: Troubles
  readonly #reserved = new Set<string>()
  readonly #waits = new Waits()
  #caveats: readonly string[] = []
  #opening: Promise<Opened> | undefined
  #closing: Promise<void> | undefined

  constructor(options: RedisTransportOptions) {
    this.#target = readUrl(options.url)
    if (this.#target.shards !== undefined) {
      throw new DeferqError(
        'INVALID_URL',
        `The Redis URL ${this.#target.masked} has shards: queues have none.`,
      )
    }
    this.#settings = { timeoutMs: options.timeoutMs ?? 5_000, ...(options.tls ? { tls: options.tls } : {}) }
    this.#keys = new Keys(this.#target)
    this.#troubles = new Troubles((message, cause) => {
      const error = isDeferqError(cause) ? cause : new DeferqError('STORE_UNAVAILABLE', message, { cause })
      for (const hear of this.#listeners) hear(error)
    })
  }

  get caveats(): readonly string[] {
    const own = [
      'The bytes travel alone: properties are not kept.',
      ...(this.#target.kind === 'cluster' ? CLUSTER_CAVEATS : []),
    ]
    return [...own, ...this.#caveats]
  }

  async open(): Promise<void> {
    const { session } = await this.#open()
    const { connection } = session
    await connection.ready()
    const { caveats, warnings } = await caveatsOf(connection, this.#target)
    this.#caveats = caveats
    for (const warning of warnings) this.#troubles.hear(warning)
  }

  close(): Promise<void> {
    this.#waits.close()
    this.#closing ??= this.#close()
    return this.#closing
  }

  async publish(messages: readonly Outgoing[]): Promise<void> {
    checkOutgoing(messages)
    await (await this.#open()).settling.publish(messages)
  }

  async reserve(want: Reservation): Promise<Delivery[]> {
    checkReservation(want)
    const { session } = await this.#open()
    const keys = want.queues.map((queue) => this.#keys.of(queue))
    return this.#waits.reserve(want, {
      look: () => this.#look(session, want),
      listen: (ring) => session.bells.listen(keys, ring),
      ringsLate: true,
      trouble: (error) => this.#troubles.hear(error.message, error),
    })
  }

  async ack(deliveries: readonly Delivery[]): Promise<Answer[]> {
    checkBatch(deliveries, 'ack')
    return (await this.#open()).settling.ack(deliveries)
  }

  async release(releases: readonly Release[]): Promise<Answer[]> {
    checkReleases(releases)
    const { settling } = await this.#open()
    return settling.move(
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
    const { settling } = await this.#open()
    return settling.move(
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
    return (await this.#open()).settling.extend(deliveries, visibilityMs)
  }

  async depth(queues: readonly string[]): Promise<Depth[]> {
    const { session } = await this.#open()
    return inPlaces(queues, this.#place, async (items) => {
      const counts = (await session.run(
        'depth',
        items.map((queue) => this.#keys.of(queue)),
        [],
      )) as number[]
      return items.map((queue, at) => {
        const [ready, delayed, reserved] = counts.slice(3 * at) as [number, number, number]
        return { queue, ready, delayed, reserved }
      })
    })
  }

  async peek(queue: string, limit: number): Promise<Message[]> {
    checkPeek(queue, limit)
    const { session } = await this.#open()
    const bodies = (await session.run('peek', [this.#keys.of(queue)], [String(limit)])) as Buffer[]
    return bodies.map((body) => ({ body: new Uint8Array(body) }))
  }

  onTrouble(hear: (error: DeferqError) => void): () => void {
    this.#listeners.add(hear)
    return () => this.#listeners.delete(hear)
  }

  /** One look at all queues, those of one place in one step. */
  async #look(session: Session, want: Reservation): Promise<Look> {
    const deliveries: Delivery[] = []
    let nextMs = want.queues.length > MAX_BELLS ? QUICK_POLL_MS : POLL_MS
    for (const queue of want.queues) this.#reserved.add(queue)
    for (const run of this.#keys.runs(want.queues)) {
      const limit = want.limit - deliveries.length
      if (limit === 0) break
      const keys = run.map((queue) => this.#keys.of(queue))
      const [next, ...found] = (await session.reserve(keys, limit, want.visibilityMs)) as [
        Buffer,
        ...unknown[],
      ]
      if (next.length > 0) nextMs = Math.min(nextMs, Math.max(1, Number(next)))
      for (let at = 0; at < found.length; at += 4) {
        const [index, token, deliveries_, body] = found.slice(at, at + 4) as [number, Buffer, number, Buffer]
        deliveries.push({
          queue: run[index - 1] as string,
          token: token.toString(),
          deliveries: deliveries_,
          body: new Uint8Array(body),
        })
      }
    }
    return { deliveries, nextMs }
  }

  #open(): Promise<Opened> {
    const { masked } = this.#target
    if (this.#closing !== undefined) {
      const closed = new DeferqError('CLOSED', `This Redis transport (${masked}) is closed: open a new one.`)
      return Promise.reject(closed)
    }
    const trouble = (error: unknown): void =>
      this.#troubles.hear(`The connection to Redis at ${masked} has trouble.`, error)
    this.#opening ??= Session.open(this.#target, this.#settings, trouble).then(
      (session) => ({ session, settling: new Settling(session, this.#keys, this.#settings.timeoutMs) }),
      (error: unknown) => {
        // The next call tries anew: the package may have been installed.
        this.#opening = undefined
        throw error
      },
    )
    return this.#opening
  }

  async #close(): Promise<void> {
    const session = (await this.#opening?.catch(() => undefined))?.session
    if (session === undefined) return
    if (session.connection.client.status === 'ready' && this.#reserved.size > 0) {
      const left = new AbortController()
      const leaving = inPlaces([...this.#reserved], this.#place, async (queues) => {
        const keys = queues.map((queue) => this.#keys.of(queue))
        await session.run('leave', keys, [`${session.consumer}.`])
        return []
      })
      // What can't be handed back now is when its visibility is over.
      await Promise.race([leaving.catch(() => {}), sleep(LEAVE_MS, left.signal)])
      left.abort()
    }
    session.end()
    this.#listeners.clear()
  }

  readonly #place = (queue: string): string => this.#keys.placeOf(queue)
}
