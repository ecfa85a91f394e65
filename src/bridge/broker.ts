// The transport of a producer or a bridge: handed over, or opened from a URL and then its own to close.
import { DeferqError } from '../base/errors.ts'
import type { Transport } from '../contract/transport.ts'
import { openTransport } from '../transports/open.ts'

export interface BrokerOptions {
  /** Where the messages are: 'amqp://localhost', 'redis://localhost', 'postgres://…', 'sqlite:./deferq.db', … */
  url?: string
  /** Or a transport, made by hand; it is left open at the end. */
  transport?: Transport
}

export class Broker {
  readonly #make: () => Promise<Transport>
  readonly #own: boolean
  #opening: Promise<Transport> | undefined
  #closed = false

  constructor({ url, transport }: BrokerOptions, where: string) {
    if ((url === undefined) === (transport === undefined))
      throw new DeferqError('INVALID_OPTION', `${where}: give either url or transport.`)
    if (transport !== undefined && typeof transport.publish !== 'function')
      throw new DeferqError('INVALID_OPTION', `${where}: transport is no transport: it can't publish.`)
    this.#make = transport === undefined ? openTransport(url as string) : async () => transport
    this.#own = transport === undefined
  }

  open(): Promise<Transport> {
    if (this.#closed)
      return Promise.reject(
        new DeferqError('CLOSED', 'This connection to the broker is closed: make a new one.'),
      )
    this.#opening ??= this.#open().catch((error) => {
      // The broker may be back at the next call.
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async close(): Promise<void> {
    this.#closed = true
    const transport = await this.#opening?.catch(() => undefined)
    if (this.#own) await transport?.close()
  }

  async #open(): Promise<Transport> {
    const transport = await this.#make()
    try {
      await transport.open()
    } catch (error) {
      // The next try makes another one; this one would keep its connections.
      if (this.#own) await transport.close().catch(() => {})
      throw error
    }
    return transport
  }
}
