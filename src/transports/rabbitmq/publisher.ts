// Sends messages and knows that the broker has them: confirms by the batch, returns, resending, and a bound on all of it.

import type { ConfirmChannel, Message, Options } from 'amqplib'
import { environment } from '../../base/environment.ts'
import { DeferqError } from '../../base/errors.ts'
import { sleep } from '../../base/time.ts'
import { Delays } from './delays.ts'
import { codeOf, full, isRefusal, judge, NOT_FOUND, unavailable } from './faults.ts'
import type { Link } from './link.ts'
import type { Queues } from './queues.ts'

const REFUSED_MS = 100

export interface Sending {
  queue: string
  delayMs: number
  body: Uint8Array
  options: Options.Publish
}

/** On its way: until the broker confirms it, nobody knows that it is there. */
interface Flight {
  sending: Sending
  exchange: string
  key: string
  content: Buffer
  /** No queue took it; its confirm comes all the same. */
  returned: boolean
}

interface Open {
  channel: ConfirmChannel
  flights: Set<Flight>
  /** Why the broker closed it, as far as it has. */
  fault: unknown
}

interface Landing {
  /** The channel went first: there or not. */
  lost: Sending[]
  returned: Sending[]
  refused: Sending[]
}

export class Publisher {
  readonly #link: Link
  readonly #queues: Queues
  readonly #timeoutMs: number
  readonly #delays = new Delays()
  readonly #underWay = new Set<Promise<void>>()
  #open: Promise<Open> | undefined

  constructor(link: Link, queues: Queues, timeoutMs: number) {
    this.#link = link
    this.#queues = queues
    this.#timeoutMs = timeoutMs
  }

  /** Answers once the broker has confirmed every one of them. */
  send(sendings: readonly Sending[]): Promise<void> {
    const sent = this.#send(sendings)
    this.#underWay.add(sent)
    const end = (): void => void this.#underWay.delete(sent)
    sent.then(end, end)
    return sent
  }

  /** Once what is under way has ended, in either way. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#underWay)
  }

  async #send(sendings: readonly Sending[]): Promise<void> {
    const deadline = environment.monotonic() + this.#timeoutMs
    let left = sendings
    for (let missing = 0; left.length > 0; ) {
      const flights = await this.#prepare(left, deadline)
      const open = await this.#channel(deadline)
      const { lost, returned, refused } = await this.#fly(open, flights, deadline)
      if (refused.length > 0) {
        // A queue that elects its leader refuses for a moment; one with a limit does until somebody takes from it.
        if (environment.monotonic() + REFUSED_MS > deadline) {
          throw full(this.#link.where, `${refused.length} were refused, as by a limit of their queue`)
        }
        await sleep(REFUSED_MS)
      }
      // Queue or exchange was there once: somebody has deleted it, or the broker is another one.
      const gone = returned.length > 0 || codeOf(open.fault) === NOT_FOUND
      if (gone) {
        for (const { queue } of left) this.#queues.forget(queue)
        this.#delays.forget()
        if (++missing > 2)
          throw unavailable('Queues vanish as soon as they are made', this.#link.where, open.fault)
      } else if (lost.length > 0 && isRefusal(open.fault)) {
        throw judge(open.fault, this.#link.where)
      }
      left = [...lost, ...returned, ...refused]
    }
  }

  async #prepare(sendings: readonly Sending[], deadline: number): Promise<Flight[]> {
    if (this.#link.blocked !== undefined) throw full(this.#link.where, this.#link.blocked)
    const missing = new Set<string>()
    for (const { queue } of sendings) if (!this.#queues.knows(queue)) missing.add(queue)
    await Promise.all([...missing].map((queue) => this.#queues.declare(queue, this.#link, deadline)))
    const flights: Flight[] = []
    for (const sending of sendings) {
      const { queue, delayMs, body } = sending
      const content = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
      const { exchange, key } =
        delayMs > 0
          ? await this.#delays.route(queue, delayMs, this.#link, deadline)
          : { exchange: '', key: queue }
      flights.push({ sending, exchange, key, content, returned: false })
    }
    return flights
  }

  #channel(deadline: number): Promise<Open> {
    this.#open ??= this.#openChannel(deadline).catch((error: unknown) => {
      this.#open = undefined
      throw judge(error, this.#link.where)
    })
    return this.#open
  }

  async #openChannel(deadline: number): Promise<Open> {
    const model = await this.#link.model(deadline)
    const channel = await this.#link.answer(model.createConfirmChannel(), deadline)
    const open: Open = { channel, flights: new Set(), fault: undefined }
    channel.on('error', (error) => {
      open.fault = error
    })
    channel.once('close', () => {
      this.#open = undefined
    })
    channel.on('return', (message) => markReturned(open.flights, message))
    return open
  }

  /** Many are sent, and one promise waits for the confirms of all. */
  #fly(open: Open, flights: readonly Flight[], deadline: number): Promise<Landing> {
    return new Promise((resolve, reject) => {
      const landing: Landing = { lost: [], returned: [], refused: [] }
      let flying = flights.length
      const timer = environment.setTimeout(
        () => {
          const { blocked, where } = this.#link
          const overdue = this.#link.overdue('No confirm came in time from RabbitMQ')
          reject(blocked === undefined ? overdue : full(where, blocked))
        },
        Math.max(0, deadline - environment.monotonic()),
      )
      const land = (flight: Flight, error: Error | null): void => {
        open.flights.delete(flight)
        if (flight.returned) landing.returned.push(flight.sending)
        else if (error?.message === 'message nacked') landing.refused.push(flight.sending)
        else if (error) landing.lost.push(flight.sending)
        if (--flying > 0) return
        environment.clearTimeout(timer)
        resolve(landing)
      }
      for (const flight of flights) {
        open.flights.add(flight)
        const { exchange, key, content, sending } = flight
        try {
          open.channel.publish(exchange, key, content, sending.options, (error: Error | null) =>
            land(flight, error),
          )
        } catch (error) {
          // Closed under our hands: not sent. Anything else is about the message.
          if ((error as Error).name !== 'IllegalOperationError') {
            environment.clearTimeout(timer)
            reject(unsendable(error as Error))
            return
          }
          land(flight, error as Error)
        }
      }
    })
  }
}

/** AMQP numbers confirms but not returns. Messages alike in all of this are as good as each other. */
function markReturned(flights: ReadonlySet<Flight>, { fields, properties, content }: Message): void {
  for (const flight of flights) {
    if (flight.returned || flight.key !== fields.routingKey || flight.exchange !== fields.exchange) continue
    if (flight.sending.options.messageId !== properties.messageId || !flight.content.equals(content)) continue
    flight.returned = true
    return
  }
}

function unsendable(cause: Error): DeferqError {
  return new DeferqError(
    'INVALID_PARAMS',
    `The properties of a message can't be sent by AMQP (${cause.message}): texts of up to 255 bytes, and headers of up to 64 KiB in all.`,
    { cause },
  )
}
