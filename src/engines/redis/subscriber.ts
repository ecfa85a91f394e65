// The connection that hears hints: subscribes, notices when it has gone deaf, and replaces itself.

import type { Redis } from 'ioredis'
import type { Timer } from '../../base/environment.ts'
import { environment } from '../../base/environment.ts'
import { retryMs } from '../../drivers/redis-clients.ts'

/** A half-open connection looks alive: it is asked this often, and given this long to answer. */
const CHECK_MS = 5_000
const ANSWER_MS = 2_500

export interface SubscriberOptions {
  /** Makes a client that has not connected yet. */
  make(): Redis
  channels: readonly string[]
  hear(channel: string, message: string): void
  /** After a gap in which anything may have been missed. */
  resumed(): void
  trouble(error: unknown): void
  checkMs?: number
}

export class Subscriber {
  readonly #options: SubscriberOptions
  #client: Redis | undefined
  #retry: Timer | undefined
  #check: Timer | undefined
  #attempts = 0
  #missed = false
  #closed = false
  /** Subscribed, as far as is known; a connection that died unnoticed is found out within CHECK_MS. */
  hears = false

  constructor(options: SubscriberOptions) {
    this.#options = options
  }

  /**
   * Resolves once the first attempt has succeeded or failed; a failure is told as trouble, and tried again.
   */
  async start(): Promise<void> {
    if (this.#closed) return
    const { make, channels, hear, resumed, trouble, checkMs = CHECK_MS } = this.#options
    let client: Redis
    try {
      client = make()
    } catch (error) {
      trouble(error)
      this.#again()
      return
    }
    this.#client = client
    client.on('error', trouble)
    client.on('message', hear)
    let ended = false
    const gone = (): void => {
      if (ended) return
      ended = true
      this.hears = false
      environment.clearInterval(this.#check)
      // Ended by itself: then ioredis would start a timer of 2 s for a socket that has gone.
      if (client.status !== 'end') client.disconnect()
      this.#again()
    }
    client.once('end', gone)
    try {
      await client.connect()
      await client.subscribe(...channels)
    } catch (error) {
      if (!this.#closed) trouble(error)
      gone()
      return
    }
    if (this.#closed || ended) return
    this.#attempts = 0
    if (this.#missed) resumed()
    this.#missed = false
    this.hears = true
    this.#check = environment
      .setInterval(() => {
        answers(client, Math.min(ANSWER_MS, checkMs)).catch((error: unknown) => {
          if (this.#closed) return
          trouble(error)
          gone()
        })
      }, checkMs)
      .unref()
  }

  close(): void {
    this.#closed = true
    this.hears = false
    environment.clearTimeout(this.#retry)
    environment.clearInterval(this.#check)
    if (this.#client !== undefined && this.#client.status !== 'end') this.#client.disconnect()
  }

  #again(): void {
    if (this.#closed) return
    this.#missed = true
    environment.clearTimeout(this.#retry)
    this.#retry = environment.setTimeout(() => void this.start(), retryMs(this.#attempts++)).unref()
  }
}

function answers(client: Redis, withinMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = environment
      .setTimeout(() => {
        reject(new Error(`The connection for hints did not answer within ${withinMs} ms and is replaced.`))
      }, withinMs)
      .unref()
    client.ping().then(
      () => {
        environment.clearTimeout(timer)
        resolve()
      },
      (error: unknown) => {
        environment.clearTimeout(timer)
        reject(error)
      },
    )
  })
}
