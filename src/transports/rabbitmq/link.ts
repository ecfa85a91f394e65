// One connection to a broker: connects again by itself, and lets nobody wait for longer than asked.

import type { Writable } from 'node:stream'
import type { ConnectionOptions } from 'node:tls'
import type { Channel, ChannelModel } from 'amqplib'
import type { Timer } from '../../base/environment.ts'
import { environment } from '../../base/environment.ts'
import { DeferqError, isDeferqError } from '../../base/errors.ts'
import { sleep } from '../../base/time.ts'
import { closed, isLoginFault, isRefusal, judge, loginFault, unavailable } from './faults.ts'
import type { Target } from './url.ts'

// A frozen or unreachable consumer is found out by the broker after two to three of these, and what it held is handed out again.
const HEARTBEAT_SECONDS = 10
const CLOSE_MS = 1_000
/** Message TTL in quorum queues, and dead letters that are confirmed, came with it. */
const LEAST_VERSION = [3, 10] as const

export interface LinkSettings {
  target: Target
  timeoutMs: number
  tls?: ConnectionOptions
  trouble(error: DeferqError): void
}

interface Waiting {
  resolve(model: ChannelModel): void
  reject(error: DeferqError): void
}

export class Link {
  readonly where: string
  /** Why the broker takes no messages from this connection; undefined while it does. */
  blocked: string | undefined
  readonly #settings: LinkSettings
  readonly #waiting = new Set<Waiting>()
  #started = false
  #model: ChannelModel | undefined
  #cut: AbortController | undefined
  #retry: Timer | undefined
  #attempts = 0
  #lastError: unknown
  #closed = false

  constructor(settings: LinkSettings) {
    this.#settings = settings
    this.where = settings.target.masked
  }

  /** The open connection; the first call makes it. */
  async model(deadline: number): Promise<ChannelModel> {
    if (this.#closed) throw closed(this.where)
    if (this.#model !== undefined) return this.#model
    if (!this.#started) {
      this.#started = true
      void this.#connect()
    }
    return new Promise((resolve, reject) => {
      const end = (): void => {
        environment.clearTimeout(timer)
        this.#waiting.delete(waiting)
      }
      const waiting: Waiting = {
        resolve: (model) => {
          end()
          resolve(model)
        },
        reject: (error) => {
          end()
          reject(error)
        },
      }
      const timer = environment.setTimeout(
        () => waiting.reject(unavailable('There is no connection to RabbitMQ', this.where, this.#lastError)),
        Math.max(0, deadline - environment.monotonic()),
      )
      this.#waiting.add(waiting)
    })
  }

  /** A channel of its own for work that may close it by failing; done again if the connection goes meanwhile. */
  async within<Result>(deadline: number, work: (channel: Channel) => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        return await this.#once(deadline, work)
      } catch (error) {
        // Two who declare one quorum queue at the same moment: the broker may close the connection of one with 541.
        if (isDeferqError(error) || isRefusal(error)) throw error
        await sleep(10 + environment.random() * 50)
      }
    }
  }

  async #once<Result>(deadline: number, work: (channel: Channel) => Promise<Result>): Promise<Result> {
    const model = await this.model(deadline)
    const channel = await this.answer(model.createChannel(), deadline)
    channel.on('error', () => undefined) // told by the call that failed
    let open = true
    channel.once('close', () => {
      open = false
    })
    try {
      return await this.answer(work(channel), deadline)
    } finally {
      if (open) channel.close().catch(() => undefined)
    }
  }

  /** A connection on which an answer is overdue is dead, though nobody has said so: it is replaced. */
  async answer<Result>(answer: Promise<Result>, deadline: number): Promise<Result> {
    let timer: Timer | undefined
    const overdue = new Promise<never>((_, reject) => {
      timer = environment.setTimeout(
        () => reject(this.overdue('No answer came in time from RabbitMQ')),
        Math.max(0, deadline - environment.monotonic()),
      )
    })
    try {
      return await Promise.race([answer, overdue])
    } finally {
      environment.clearTimeout(timer)
    }
  }

  overdue(what: string): DeferqError {
    const error = unavailable(what, this.where, this.#lastError)
    if (this.blocked === undefined) this.#cut?.abort(new Error('An answer was overdue'))
    return error
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    environment.clearTimeout(this.#retry)
    for (const waiting of [...this.#waiting]) waiting.reject(closed(this.where))
    const model = this.#model
    if (model !== undefined) {
      let timer: Timer | undefined
      const late = new Promise<void>((resolve) => {
        timer = environment.setTimeout(resolve, CLOSE_MS)
      })
      await Promise.race([model.close().catch(() => undefined), late])
      environment.clearTimeout(timer)
    }
    this.#cut?.abort()
  }

  async #connect(): Promise<void> {
    const { target, timeoutMs, tls } = this.#settings
    const cut = new AbortController()
    this.#cut = cut
    const late = environment.setTimeout(
      () => cut.abort(new Error(`no answer within ${timeoutMs} ms`)),
      timeoutMs,
    )
    try {
      const { host, port } = target.hosts[this.#attempts % target.hosts.length] as (typeof target.hosts)[0]
      const { connect } = await loadLibrary()
      const socket = {
        noDelay: true,
        keepAlive: true,
        clientProperties: { connection_name: 'deferq' },
        ...(target.tls ? tls : {}),
        // Handed on to the socket: the library itself would leave a dead one open.
        signal: cut.signal,
      }
      const model = await connect(
        {
          protocol: target.tls ? 'amqps' : 'amqp',
          hostname: host,
          port,
          username: target.username,
          password: target.password,
          vhost: encodeURIComponent(target.vhost),
          heartbeat: HEARTBEAT_SECONDS,
        },
        socket,
      )
      writeTogether((model.connection as { stream?: Writable }).stream)
      this.#up(model, cut)
    } catch (error) {
      this.#failed(cut.signal.aborted && !this.#closed ? (cut.signal.reason ?? error) : error)
    } finally {
      environment.clearTimeout(late)
    }
  }

  #up(model: ChannelModel, cut: AbortController): void {
    let lastError: unknown
    model.on('error', (error) => {
      lastError = error
    })
    if (this.#closed) {
      cut.abort()
      return
    }
    const { version = '0' } = model.connection.serverProperties
    const [major = 0, minor = 0] = version.split('.').map(Number)
    if (major < LEAST_VERSION[0] || (major === LEAST_VERSION[0] && minor < LEAST_VERSION[1])) {
      cut.abort()
      this.#failed(
        new DeferqError(
          'STORE_MISMATCH',
          `RabbitMQ at ${this.where} is of version ${version}: deferq needs ${LEAST_VERSION.join('.')} or later.`,
        ),
      )
      return
    }
    model.on('blocked', (reason) => {
      this.blocked = reason
    })
    model.on('unblocked', () => {
      this.blocked = undefined
    })
    model.once('close', (error) => {
      this.#model = undefined
      this.blocked = undefined
      const reason = cut.signal.reason instanceof Error ? cut.signal.reason : (lastError ?? error)
      cut.abort()
      if (this.#closed) return
      this.#settings.trouble(
        unavailable('The connection was lost, and is made again, to RabbitMQ', this.where, reason),
      )
      this.#again(reason)
    })
    this.#model = model
    this.#attempts = 0
    for (const waiting of [...this.#waiting]) waiting.resolve(model)
  }

  #failed(error: unknown): void {
    if (this.#closed) return
    const fault = isLoginFault(error) ? loginFault(error, this.where) : judge(error, this.where)
    const hopeless = isLoginFault(error) || error instanceof DeferqError
    this.#settings.trouble(
      hopeless ? fault : unavailable('There is no connection to RabbitMQ', this.where, error),
    )
    // Waiting would not help: the same is refused again.
    if (hopeless) for (const waiting of [...this.#waiting]) waiting.reject(fault)
    this.#again(error)
  }

  /** From 50 ms up to a second: a restarted broker is found quickly, one that is away is not hammered. */
  #again(error: unknown): void {
    this.#lastError = error
    const ms = Math.min(1_000, 50 * 2 ** Math.min(this.#attempts++, 5)) * (0.75 + environment.random() / 2)
    this.#retry = environment.setTimeout(() => void this.#connect(), ms)
    // Whoever waits has a timer of its own.
    this.#retry.unref()
  }
}

/** The library hands each message to the system by itself. Those of one turn go together: a call costs more than a message. */
function writeTogether(stream: Writable | undefined): void {
  if (stream === undefined) return
  const write = stream.write.bind(stream) as (...args: unknown[]) => boolean
  stream.write = (...args: unknown[]): boolean => {
    if (stream.writableCorked === 0) {
      stream.cork()
      process.nextTick(() => stream.uncork())
    }
    return write(...args)
  }
}

async function loadLibrary(): Promise<Pick<typeof import('amqplib'), 'connect'>> {
  try {
    const { connect } = await import('amqplib')
    return { connect }
  } catch (error) {
    throw new DeferqError(
      'MISSING_DEPENDENCY',
      'The RabbitMQ transport needs the package amqplib: npm install amqplib',
      { cause: error },
    )
  }
}
