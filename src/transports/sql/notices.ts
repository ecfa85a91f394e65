// Hears of new messages over a session of its own, while somebody waits; where that is away, looks find them later.
import type { Client } from 'pg'
import type { DeferqError } from '../../base/errors.ts'
import { sleep } from '../../base/time.ts'
import type { PostgresDriver } from '../../drivers/postgres.ts'
import { destroy, explained, quoted } from '../../drivers/postgres.ts'

const PAUSE_MS = 500

interface Listener {
  queues: readonly string[]
  ring: () => void
}

export class Notices {
  readonly #driver: PostgresDriver
  readonly #channel: string
  readonly #trouble: (error: DeferqError) => void
  readonly #listeners = new Set<Listener>()
  #connecting = false
  #client: Client | undefined
  #closed = false

  constructor(driver: PostgresDriver, channel: string, trouble: (error: DeferqError) => void) {
    this.#driver = driver
    this.#channel = channel
    this.#trouble = trouble
  }

  get hears(): boolean {
    return this.#client !== undefined
  }

  listen(queues: readonly string[], ring: () => void): () => void {
    const listener = { queues, ring }
    this.#listeners.add(listener)
    if (this.#client === undefined && !this.#connecting) void this.#connect()
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    this.#closed = true
    this.#listeners.clear()
    if (this.#client !== undefined) destroy(this.#client)
  }

  async #connect(): Promise<void> {
    this.#connecting = true
    while (!this.#closed && this.#client === undefined) {
      try {
        const client = await this.#driver.session()
        client.on('notification', ({ payload }) => this.#ring(payload))
        client.once('end', () => {
          this.#client = undefined
          if (this.#listeners.size > 0 && !this.#connecting) void this.#connect()
        })
        if (this.#closed) return destroy(client)
        await client.query(`LISTEN ${quoted(this.#channel)}`)
        this.#client = client
        if (this.#closed) return destroy(client)
        // Something may have come before the first word was heard.
        this.#ring()
      } catch (error) {
        if (this.#closed) break
        this.#trouble(explained(error, this.#driver.where))
        await sleep(PAUSE_MS)
      }
    }
    this.#connecting = false
  }

  #ring(queue?: string): void {
    for (const { queues, ring } of this.#listeners) if (queue === undefined || queues.includes(queue)) ring()
  }
}
