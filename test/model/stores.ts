// The stores that the model is compared with, each with a clock that the player moves.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client } from 'pg'
import pg from 'pg'
import type { Engine } from '../../src/contract/engine.ts'
import { MemoryEngine, MemoryStore } from '../../src/engines/memory/index.ts'
import { PostgresEngine, REWRITE as REWRITE_SQL } from '../../src/engines/postgres/index.ts'
import { REWRITE as REWRITE_LUA, RedisEngine } from '../../src/engines/redis/index.ts'
import { SqliteEngine } from '../../src/engines/sqlite/index.ts'
import { memoryPlace } from '../composed/memory.ts'
import { dropSchema } from '../postgres/factory.ts'
import { commands } from '../redis/commands.ts'
import type { StoreKind } from './player.ts'

const START = 1_750_000_000_000

/** `open` and `connect` make a memory store and a connection to it; a test plants bugs there. */
export const memoryWith = <Store>(
  open: (now: () => number) => Store,
  connect: (store: Store) => Engine,
): StoreKind => ({
  name: 'memory',
  exact: true,
  order: { firstInFirstOut: true },
  async create() {
    let now = START
    const store = open(() => now)
    return {
      connect: async () => connect(store),
      now: async () => now,
      advance: async (ms) => void (now += ms),
      close: async () => undefined,
    }
  },
})

export const memory = memoryWith(
  (now) => new MemoryStore(now),
  (store) => new MemoryEngine({ store }),
)

export const sqlite: StoreKind = {
  name: 'sqlite',
  exact: true,
  order: { firstInFirstOut: true },
  async create() {
    let now = START
    const folder = await mkdtemp(join(tmpdir(), 'deferq-model-'))
    return {
      async connect() {
        const engine = new SqliteEngine({ file: join(folder, 'store.db'), now: () => now })
        await engine.open()
        return engine
      },
      now: async () => now,
      advance: async (ms) => void (now += ms),
      close: () => rm(folder, { recursive: true, force: true }),
    }
  },
}

export const composed: StoreKind = {
  name: 'composed',
  exact: true,
  order: 'none',
  countsTotals: false,
  claimsAll: false,
  async create() {
    let now = START
    const place = memoryPlace()
    return {
      connect: () => place.connect(),
      now: async () => now,
      async advance(ms) {
        now += ms
        place.advance(ms)
      },
      close: async () => undefined,
    }
  },
}

/** The scripts add to the server's clock an offset that lies in a key of the store. */
export const redis = (url: () => string): StoreKind => ({
  name: 'redis',
  exact: false,
  order: { firstInFirstOut: false, turns: false },
  async create() {
    const prefix = `t${randomBytes(6).toString('hex')}`
    const offsetKey = `{${prefix}:0}:test-offset`
    const client = await commands(url())
    let offset = 0
    const rewrite = (source: string): string =>
      source.replace(
        'local time = clock[1] * 1000 + floor(clock[2] / 1000)',
        `$& + (tonumber(call('GET', '${offsetKey}') or 0))`,
      )
    return {
      async connect() {
        const engine = new RedisEngine({ url: url(), prefix, shards: 1, ...{ [REWRITE_LUA]: rewrite } })
        await engine.open()
        return engine
      },
      async now() {
        const [seconds, micros] = (await client.call('TIME')) as [string, string]
        return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000) + offset
      },
      async advance(ms) {
        offset += ms
        await client.call('SET', offsetKey, String(offset))
      },
      async close() {
        client.disconnect()
      },
    }
  },
})

/** The function that reads the server's clock adds an offset that lies in a table of the store. */
export function postgres(url: () => string): StoreKind {
  let opened: Promise<{ client: Client; engines: Engine[]; schema: string }> | undefined
  const open = async () => {
    const schema = `t${randomBytes(6).toString('hex')}`
    const client = new pg.Client({ connectionString: url() })
    await client.connect()
    await client.query(`create schema ${schema}; create table ${schema}.test_offset (ms bigint)`)
    const rewrite = (sql: string): string =>
      sql.replace(
        'select (extract(epoch from clock_timestamp()) * 1000)::bigint',
        `$& + coalesce((select ms from test_offset), 0)`,
      )
    const engines = Array.from(
      { length: 3 },
      () => new PostgresEngine({ url: url(), schema, connections: 1, ...{ [REWRITE_SQL]: rewrite } }),
    )
    for (const engine of engines) await engine.open()
    return { client, engines, schema }
  }
  return {
    name: 'postgres',
    exact: false,
    order: { firstInFirstOut: 'drafts' },
    // A schema takes half a second to make: all histories share one, which is emptied before each.
    async create() {
      opened ??= open()
      const { client, engines, schema } = await opened
      let offset = 0
      let connected = 0
      const { rows } = await client.query(
        `select string_agg(format('%I.%I', schemaname, tablename), ', ') as tables from pg_tables where schemaname = $1`,
        [schema],
      )
      await client.query(
        `truncate ${rows[0].tables} restart identity; insert into ${schema}.test_offset values (0)`,
      )
      return {
        connect: async () => keptOpen(engines[connected++ % engines.length] as Engine),
        async now() {
          const { rows } = await client.query(
            'select (extract(epoch from clock_timestamp()) * 1000)::bigint as now',
          )
          return Number(rows[0].now) + offset
        },
        async advance(ms) {
          offset += ms
          await client.query(`update ${schema}.test_offset set ms = $1`, [offset])
        },
        close: async () => undefined,
      }
    },
    async close() {
      if (opened === undefined) return
      const { client, engines, schema } = await opened
      for (const engine of engines) await engine.close()
      await client.end()
      await dropSchema(url(), schema)
    },
  }
}

/** The same engine, which the end of a history leaves open. */
const keptOpen = (engine: Engine): Engine =>
  new Proxy(engine, {
    get(target, name) {
      if (name === 'close') return async () => undefined
      const member: unknown = Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
