// The ear of one engine: a session that listens, comes back by itself, and knows when a pooler keeps the news from it.

import type { Client } from 'pg'
import type { Timer } from '../../base/environment.ts'
import { environment } from '../../base/environment.ts'
import { sleep } from '../../base/time.ts'
import type { PostgresDriver } from '../../drivers/postgres.ts'
import { destroy, quoted } from '../../drivers/postgres.ts'

// A connection that died without a word is found out by asking.
const BEAT_MS = 10_000
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 2_000
/** How long a test message may take through the server. */
const PROBE_MS = 1_000
/** Without notifications everybody looks for themselves, so often. */
const TICK_MS = 1_000

export interface ListenerNeeds {
  driver: PostgresDriver
  /** The channel of this engine alone, and that of all engines of the store. */
  channels: readonly [own: string, all: string]
  hear(message: string): void
  /** News may have been missed. */
  missed(): void
  trouble(message: string, error?: unknown): void
}

export class Listener {
  readonly #needs: ListenerNeeds
  readonly #stopping = new AbortController()
  #client: Client | undefined
  #ticks: Timer | undefined
  #probed: () => void = () => undefined
  #started: Promise<void> | undefined
  #running: Promise<void> | undefined
  /** The server takes the subscription and sends nothing: a pooler hands the session to others. */
  deaf = false
  /** It listens; a connection that died unnoticed is found out within BEAT_MS. */
  hears = false

  constructor(needs: ListenerNeeds) {
    this.#needs = needs
  }

  /** Settles once it listens, or has failed to for the first time; it goes on trying after that. */
  start(): Promise<void> {
    this.#started ??= new Promise((ready) => {
      this.#running = this.#run(ready)
    })
    return this.#started
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    environment.clearInterval(this.#ticks)
    const client = this.#client
    if (client !== undefined) destroy(client)
    await this.#running
  }

  async #run(ready: () => void): Promise<void> {
    const { signal } = this.#stopping
    let first = true
    for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)) {
      try {
        const client = await this.#needs.driver.session()
        this.#client = client
        const ended = new Promise<void>((resolve) => client.once('end', () => resolve()))
        try {
          await this.#listen(client)
          if (signal.aborted || this.deaf) return
          if (!first) this.#needs.missed()
          this.hears = true
          ready()
          first = false
          pauseMs = FIRST_PAUSE_MS
          await this.#stay(client, ended)
        } finally {
          this.hears = false
          destroy(client)
          this.#client = undefined
        }
      } catch (error) {
        if (!signal.aborted) {
          this.#needs.trouble(
            'The connection for notifications is gone; it is opened again. Until then waits are found by polling.',
            error,
          )
        }
      } finally {
        ready()
        first = false
      }
      await sleep(pauseMs * (0.5 + environment.random()), signal).catch(() => undefined)
    }
  }

  async #listen(client: Client): Promise<void> {
    const { driver, channels, hear } = this.#needs
    const probe = `probe ${environment.random()}`
    const heard = new Promise<boolean>((resolve) => {
      const late = environment.setTimeout(() => resolve(false), PROBE_MS)
      this.#probed = () => {
        environment.clearTimeout(late)
        resolve(true)
      }
    })
    client.on('notification', ({ payload = '' }) => (payload === probe ? this.#probed() : hear(payload)))
    const query_timeout = driver.timeoutMs
    for (const channel of channels) {
      await client.query({ text: `listen ${quoted(channel)}`, query_timeout } as object as { text: string })
    }
    await driver.query('select pg_notify($1, $2)', [channels[0], probe], true)
    if (await heard) return
    this.deaf = true
    this.#ticks = environment.setInterval(() => this.#needs.missed(), TICK_MS).unref()
  }

  /** Until the connection ends. */
  async #stay(client: Client, ended: Promise<void>): Promise<void> {
    const beat = environment
      .setInterval(() => {
        const ask = { text: 'select 1', query_timeout: this.#needs.driver.timeoutMs } as object as {
          text: string
        }
        client.query(ask).catch(() => destroy(client))
      }, BEAT_MS)
      .unref()
    await ended
    environment.clearInterval(beat)
  }
}
