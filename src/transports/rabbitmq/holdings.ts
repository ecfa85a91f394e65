// What this process holds: which token stands for which message, and until when. The lease that AMQP itself lacks.

import type { ConsumeMessage, MessageProperties } from 'amqplib'
import type { Timer } from '../../base/environment.ts'
import { environment } from '../../base/environment.ts'
import type { Delivery } from '../../contract/transport.ts'
import { deliveriesOf, propertiesOf } from './messages.ts'
import type { Session } from './session.ts'

export interface Holding {
  token: string
  session: Session
  tag: number
  /** As they came, for what `Properties` has no place for. */
  came: MessageProperties
  until: number
}

export class Holdings {
  readonly #held = new Map<string, Holding>()
  /** Another transport's token must not be taken for one of ours. */
  readonly #name = environment.randomBytes(6).toString('hex')
  #tokens = 0
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY

  take(session: Session, message: ConsumeMessage, visibilityMs: number): Delivery {
    const token = `${this.#name}-${++this.#tokens}`
    const { deliveryTag: tag } = message.fields
    const until = environment.monotonic() + visibilityMs
    this.#held.set(token, { token, session, tag, came: message.properties, until })
    this.#wakeBy(until)
    const properties = propertiesOf(message)
    const delivery: Delivery = {
      queue: session.queue,
      token,
      body: message.content,
      deliveries: deliveriesOf(message),
    }
    if (properties !== undefined) delivery.properties = properties
    return delivery
  }

  /** Ends the holding: whoever asks first decides over it. Undefined once its time is over, or the connection was lost. */
  end(token: string): Holding | undefined {
    const holding = this.#current(token)
    if (holding !== undefined) this.#held.delete(token)
    return holding
  }

  /** Takes back an `end` that came to nothing. */
  restore(holding: Holding): void {
    if (!holding.session.alive) return
    this.#held.set(holding.token, holding)
    this.#wakeBy(holding.until)
  }

  extend(token: string, visibilityMs: number): Holding | undefined {
    const holding = this.#current(token)
    if (holding === undefined) return undefined
    holding.until = environment.monotonic() + visibilityMs
    this.#wakeBy(holding.until)
    return holding
  }

  has(holding: Holding): boolean {
    return holding.session.alive && this.#held.get(holding.token) === holding
  }

  /** The broker hands out again what a lost channel held. */
  forget(session: Session): void {
    for (const [token, holding] of this.#held) if (holding.session === session) this.#held.delete(token)
  }

  close(): void {
    environment.clearTimeout(this.#timer)
    this.#held.clear()
  }

  #current(token: string): Holding | undefined {
    const holding = this.#held.get(token)
    if (holding === undefined || !holding.session.alive) return undefined
    if (environment.monotonic() < holding.until) return holding
    this.#expire(holding)
    return undefined
  }

  #expire(holding: Holding): void {
    this.#held.delete(holding.token)
    holding.session.giveBack(holding.tag)
  }

  #wakeBy(moment: number): void {
    if (this.#timerAt <= moment) return
    environment.clearTimeout(this.#timer)
    this.#timerAt = moment
    // Node rounds down; a delay beyond its range would fire at once.
    const ms = Math.min(Math.max(0, moment - environment.monotonic()) + 1, 2 ** 31 - 1)
    // The connection holds the process while there is something to watch.
    this.#timer = environment.setTimeout(this.#sweep, ms).unref()
  }

  readonly #sweep = (): void => {
    this.#timerAt = Number.POSITIVE_INFINITY
    const now = environment.monotonic()
    let next = Number.POSITIVE_INFINITY
    for (const holding of this.#held.values()) {
      if (holding.until <= now) this.#expire(holding)
      else next = Math.min(next, holding.until)
    }
    if (next < Number.POSITIVE_INFINITY) this.#wakeBy(next)
  }
}
