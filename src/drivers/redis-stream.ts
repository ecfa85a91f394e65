// A plain connection to Redis that reads into one buffer. Left to itself, Node makes one of 64 KB for each read and shrinks it: of
// what a lone task takes from its dispatch to its result, 4 %.
import type { Socket } from 'node:net'
import { createConnection } from 'node:net'
import type { AbstractConnector, RedisOptions } from 'ioredis'

const READ_AT_ONCE = 65_536

/** What ioredis takes as its option `Connector`; not for TLS or sentinels, which have ways of their own. */
export function readingConnector(Abstract: typeof AbstractConnector): RedisOptions['Connector'] {
  return class ReadingConnector extends Abstract {
    readonly #place: { host: string; port: number; family: number }

    constructor(options: unknown) {
      const { disconnectTimeout, host, port, family } = options as Required<RedisOptions>
      super(disconnectTimeout)
      this.#place = { host, port, family }
    }

    override async connect(): Promise<Socket> {
      this.connecting = true
      await undefined
      if (!this.connecting) throw new Error('Connection is closed.')
      const stream: Socket = createConnection({
        ...this.#place,
        onread: {
          buffer: Buffer.allocUnsafeSlow(READ_AT_ONCE),
          // A copy, because the parser keeps what is the beginning of an answer until the rest comes.
          callback: (length, buffer) => {
            stream.emit('data', Buffer.from(buffer.subarray(0, length)))
            return true
          },
        },
      })
      stream.once('error', (error) => {
        this.firstError = error
      })
      this.stream = stream
      return stream
    }
  }
}
