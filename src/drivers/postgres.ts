// Reaches a PostgreSQL server: a pool of connections that come back by themselves, and statements that end in bounded time.

import { createHash } from 'node:crypto'
import type { Client, ClientConfig, Pool, PoolClient, QueryConfig } from 'pg'
import { environment } from '../base/environment.ts'
import { DeferqError, maskUrl } from '../base/errors.ts'
import { sleep } from '../base/time.ts'
import { judge, unavailable } from './postgres-faults.ts'

export interface PostgresOptions {
  /** postgres://user:password@host:5432/database, and what the package pg reads after a `?` (sslmode, …). */
  url?: string
  /** Or a pool of the caller's own, which is not ended here. */
  pool?: Pool
  /** For notifications, which need a session of their own, where `url` leads to a pooler that shares sessions. */
  listenUrl?: string
  /** How many connections the pool opens at most; 4 by default. */
  connections?: number
  /** How long a call may take before it fails with STORE_UNAVAILABLE; 5 seconds by default. */
  timeoutMs?: number
  /** Certificates and the like. */
  ssl?: ClientConfig['ssl']
}

export type Rows = Record<string, unknown>[]
export type Query = (text: string, values?: readonly unknown[]) => Promise<Rows>

// Each is a process on the server: enough for two cores, and few where many clients share one server. Batches carry the load.
const CONNECTIONS = 4
// Opening a connection costs the server a new process, some milliseconds.
const IDLE_MS = 30_000
const CLOSE_MS = 1_000
const FIRST_PAUSE_MS = 20
const LONGEST_PAUSE_MS = 500

/** `left`: how many milliseconds its next statement may take. `lost`: it may have been done before. */
type Work<T> = (client: PoolClient, left: () => number, lost: boolean) => Promise<T>

export class PostgresDriver {
  /** Fit for messages. */
  readonly where: string
  readonly timeoutMs: number
  readonly #options: PostgresOptions
  readonly #clients = new Set<PoolClient>()
  #pool: Promise<Pool> | undefined
  /** Until a pooler that shares sessions turns out to be in between. */
  #prepares = true
  #closing: Promise<void> | undefined

  constructor(options: PostgresOptions) {
    const { url, pool, connections = CONNECTIONS, timeoutMs = 5_000 } = options
    if ((url === undefined) === (pool === undefined)) {
      throw new DeferqError('INVALID_OPTION', 'PostgreSQL is reached with either a url or a pool.')
    }
    if (url !== undefined) checkUrl(url)
    if (options.listenUrl !== undefined) checkUrl(options.listenUrl)
    checkWhole('connections', connections, 1_000)
    checkWhole('timeoutMs', timeoutMs, 600_000)
    this.where = url === undefined ? 'the given pool' : bare(url)
    this.timeoutMs = timeoutMs
    this.#options = options
  }

  /**
   * One statement. `again`: it is harmless when repeated, and is sent again when its answer was lost (with other values,
   * if they are given). What was refused without being done (a deadlock, a server that starts) is always sent again, while
   * there is time.
   */
  query(
    text: string,
    values: readonly unknown[] = [],
    again: boolean | readonly unknown[] = false,
  ): Promise<Rows> {
    return this.#ask({ text }, values, again)
  }

  /** As `query`, of a statement that is sent over and over: each connection prepares it once. */
  async call(
    text: string,
    values: readonly unknown[] = [],
    again: boolean | readonly unknown[] = false,
  ): Promise<Rows> {
    if (this.#prepares) {
      try {
        return await this.#ask({ text, name: nameOf(text) }, values, again)
      } catch (error) {
        if (!isElsewhere(error)) throw error
        // Nothing was done.
        this.#prepares = false
      }
    }
    return this.#ask({ text }, values, again)
  }

  /** Several statements, all or none. */
  transaction<T>(work: (query: Query) => Promise<T>, again = false): Promise<T> {
    return this.#persist(again, async (client, left) => {
      const query: Query = async (text, values = []) =>
        (await client.query(timed({ text }, values, left()))).rows
      await query('begin')
      try {
        const result = await work(query)
        await query('commit')
        return result
      } catch (error) {
        // Where this fails too, the connection is beyond use, and goes.
        await query('rollback')
        throw error
      }
    })
  }

  /** A connection of one's own, outside the pool: for LISTEN. The caller ends it. */
  async session(): Promise<Client> {
    const { url, pool, listenUrl = url, ssl } = this.#options
    const { Client } = await loadPg()
    const base = pool === undefined || listenUrl !== undefined ? {} : pool.options
    const client = new Client({ ...base, ...this.#config(listenUrl, ssl), keepAlive: true })
    // Without a listener, a connection that breaks ends the process; whoever asked hears `end`.
    client.on('error', () => undefined)
    try {
      await client.connect()
      return client
    } catch (error) {
      destroy(client)
      throw explained(error, this.where)
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  #ask(
    statement: { text: string; name?: string },
    values: readonly unknown[],
    again: boolean | readonly unknown[],
  ): Promise<Rows> {
    return this.#persist(again !== false, async (client, left, lost) => {
      const sent = lost && typeof again !== 'boolean' ? again : values
      return (await client.query(timed(statement, sent, left()))).rows
    })
  }

  async #persist<T>(again: boolean, work: Work<T>): Promise<T> {
    const deadline = environment.monotonic() + this.timeoutMs
    const left = (): number => Math.max(this.timeoutMs / 4, deadline - environment.monotonic())
    let lost = false
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)) {
      let sent = false
      try {
        const client = await this.#connect()
        sent = true
        return await this.#use(client, () => work(client, left, lost))
      } catch (error) {
        const fault = judge(error, this.where)
        if (fault instanceof DeferqError) throw fault
        lost ||= fault === 'lost' && sent
        if (lost && !again) throw unavailable(this.where, error)
        if (environment.monotonic() + pauseMs >= deadline || this.#closing !== undefined)
          throw unavailable(this.where, error)
        await sleep(pauseMs * (0.5 + environment.random()))
      }
    }
  }

  async #use<T>(client: PoolClient, work: () => Promise<T>): Promise<T> {
    let broken = false
    try {
      return await work()
    } catch (error) {
      // An answer that is overdue may still come, and would be taken for that of the next statement.
      broken = judge(error, this.where) === 'lost'
      throw error
    } finally {
      client.release(broken)
    }
  }

  async #connect(): Promise<PoolClient> {
    if (this.#closing !== undefined) throw closed(this.where)
    const pool = await (this.#pool ??= this.#open())
    return pool.connect()
  }

  async #open(): Promise<Pool> {
    const { pool: given, url, connections = CONNECTIONS, ssl } = this.#options
    if (given !== undefined) return given
    const { Pool } = await loadPg()
    const pool = new Pool({ ...this.#config(url, ssl), max: connections, idleTimeoutMillis: IDLE_MS })
    // One that breaks while nobody uses it is replaced when it is needed.
    pool.on('error', () => undefined)
    pool.on('connect', (client) => {
      this.#clients.add(client)
      // The pool listens only while the client is idle; in use, the statement's own error tells.
      client.on('error', () => undefined)
    })
    pool.on('remove', (client) => this.#clients.delete(client))
    return pool
  }

  #config(url: string | undefined, ssl: ClientConfig['ssl']): ClientConfig {
    return {
      ...(url === undefined ? {} : { connectionString: url }),
      ...(ssl === undefined ? {} : { ssl }),
      connectionTimeoutMillis: this.timeoutMs,
      application_name: 'deferq',
    }
  }

  async #close(): Promise<void> {
    if (this.#pool === undefined || this.#options.pool !== undefined) return
    const pool = await this.#pool.catch(() => undefined)
    // A server that is frozen never hangs up.
    const ending = pool?.end()
    const late = new Promise<void>((resolve) => environment.setTimeout(resolve, CLOSE_MS).unref())
    await Promise.race([ending, late])
    for (const client of this.#clients) destroy(client)
  }
}

/** Hangs up without waiting for the server. */
export function destroy(client: Client | PoolClient): void {
  ;(client as unknown as { connection?: { stream?: { destroy(): void } } }).connection?.stream?.destroy()
}

/** An error of a statement or a connection as the caller is told it. */
export function explained(error: unknown, where: string): DeferqError {
  const fault = judge(error, where)
  return fault instanceof DeferqError ? fault : unavailable(where, error)
}

export const quoted = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`

const timed = (statement: QueryConfig, values: readonly unknown[], ms: number): QueryConfig =>
  ({ ...statement, values: values as unknown[], query_timeout: ms }) as QueryConfig

// The same name means the same text in whichever session it was prepared.
const names = new Map<string, string>()
function nameOf(text: string): string {
  let name = names.get(text)
  if (name === undefined) {
    name = `deferq_${createHash('sha256').update(text).digest('hex').slice(0, 24)}`
    names.set(text, name)
  }
  return name
}

/** It was prepared in a session that is not this one: a pooler shares them. */
const isElsewhere = (error: unknown): boolean =>
  ['26000', '42P05'].includes((error as { cause?: { code?: string } }).cause?.code ?? '')

const closed = (where: string): DeferqError =>
  new DeferqError('CLOSED', `The connection to PostgreSQL at ${where} is closed: open a new one.`)

const bare = (url: string): string =>
  maskUrl(url)
    .replace(/^[^:]+:\/\/(?:[^@/]*@)?/, '')
    .replace(/\?.*$/, '')

function checkUrl(url: string): void {
  if (/^postgres(ql)?:\/\//i.test(url) && URL.canParse(url)) return
  throw new DeferqError(
    'INVALID_URL',
    `'${maskUrl(String(url))}' is no URL of a PostgreSQL database. Write it like postgres://user:password@host:5432/database.`,
  )
}

function checkWhole(option: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= most) return
  throw new DeferqError('INVALID_OPTION', `${option} is ${value}: use a whole number from 1 to ${most}.`)
}

async function loadPg(): Promise<Pick<typeof import('pg'), 'Client' | 'Pool'>> {
  try {
    const { default: pg } = await import('pg')
    return pg
  } catch (error) {
    throw new DeferqError('MISSING_DEPENDENCY', 'PostgreSQL needs the package pg: npm install pg', {
      cause: error,
    })
  }
}
