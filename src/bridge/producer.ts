// Sends messages that a consumer in any language can read: an envelope, and beside it what its broker has a place for.
import { Batcher } from '../base/batcher.ts'
import { DeferqError, isDeferqError } from '../base/errors.ts'
import type { Duration } from '../base/time.ts'
import { durationMs } from '../base/time.ts'
import { traceIdHere } from '../base/trace.ts'
import type { Outgoing } from '../contract/transport.ts'
import { checkKnown, checkName } from '../tasks/check-options.ts'
import type { BrokerOptions } from './broker.ts'
import { Broker } from './broker.ts'
import { encodeEnvelope, isBlank, newEnvelope, propertiesOf } from './envelope.ts'

export interface ProducerOptions extends BrokerOptions {
  /** Where messages go that name no queue of their own ('default'). */
  queue?: string
}

export interface SendOptions {
  queue?: string
  /** Carried on unchanged (that of the handler in which this is called, or else a new UUID). */
  traceId?: string
  /** Handed out no earlier than this. */
  delay?: Duration
  /** A UUIDv4, made unless given. Consumers do a message once by it: to send again after an unclear failure, give the same. */
  id?: string
}

export interface SendItem extends SendOptions {
  urn: string
  data?: Record<string, unknown>
}

export interface Sent {
  id: string
  traceId: string
  queue: string
}

type Letter = Sent & { outgoing: Outgoing }

export class Producer implements AsyncDisposable {
  readonly #broker: Broker
  readonly #queue: string
  readonly #batcher: Batcher<Letter, Sent>
  readonly #underWay = new Set<Promise<unknown>>()

  constructor(options: ProducerOptions) {
    checkKnown(options, ['url', 'transport', 'queue'], 'new Producer()')
    const { queue = 'default' } = options
    checkName(queue, 'new Producer(): queue')
    this.#queue = queue
    this.#broker = new Broker(options, 'new Producer()')
    // What is sent first arrives first.
    this.#batcher = new Batcher((letters) => this.#publish(letters), { inOrder: true })
  }

  /** Connects now rather than with the first message. */
  async open(): Promise<void> {
    await this.#broker.open()
  }

  /** Answers once the broker has taken the message. */
  async send(urn: string, data?: Record<string, unknown>, options: SendOptions = {}): Promise<Sent> {
    return this.#add(this.#letter(urn, data, options, `send('${urn}')`))
  }

  /** Many, in their order and as few round trips as the broker allows. None is sent when one is malformed. */
  async sendMany(items: readonly SendItem[]): Promise<Sent[]> {
    const letters = items.map(({ urn, data, ...options }, index) =>
      this.#letter(urn, data, options, `sendMany()[${index}]`),
    )
    return Promise.all(letters.map((letter) => this.#add(letter)))
  }

  /** Lets what is under way be sent. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#underWay)
    await this.#broker.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #letter(
    urn: string,
    data: Record<string, unknown> | undefined,
    options: SendOptions,
    where: string,
  ): Letter {
    checkKnown(options, ['queue', 'traceId', 'delay', 'id'], `${where}: options`)
    const { queue = this.#queue, traceId, delay = 0, id } = options
    checkName(queue, `${where}: queue`)
    const delayMs = durationMs(delay, `${where}: delay`)
    const inherited = isBlank(traceId) ? traceIdHere() : traceId
    const envelope = newEnvelope(urn, data, {
      queue,
      ...(inherited === undefined ? {} : { traceId: inherited }),
      ...(id === undefined ? {} : { id }),
    })
    try {
      const outgoing = { queue, body: encodeEnvelope(envelope), properties: propertiesOf(envelope) }
      return {
        id: envelope.meta.id,
        traceId: envelope.trace_id,
        queue,
        outgoing: delayMs === 0 ? outgoing : { ...outgoing, delayMs },
      }
    } catch (error) {
      if (error instanceof DeferqError) error.message = `${where}: ${error.message}`
      throw error
    }
  }

  #add(letter: Letter): Promise<Sent> {
    const sent = this.#batcher.add(letter).catch((error) => {
      const { id, traceId, queue } = letter
      if (!isDeferqError(error)) throw error
      throw new DeferqError(
        error.code,
        `${error.message} The message ${id} may have been sent or not: to send it again, give the same id.`,
        { cause: error, details: { id, traceId, queue } },
      )
    })
    this.#underWay.add(sent)
    const over = (): void => void this.#underWay.delete(sent)
    sent.then(over, over)
    return sent
  }

  async #publish(letters: readonly Letter[]): Promise<Sent[]> {
    const transport = await this.#broker.open()
    await transport.publish(letters.map(({ outgoing }) => outgoing))
    return letters.map(({ id, traceId, queue }) => ({ id, traceId, queue }))
  }
}
