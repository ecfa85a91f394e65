// The SQL transport's tables: beside an engine, under load, opened by many at once, and with the server gone for a while.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { loadDriver } from '../../src/drivers/sqlite.ts'
import { SqliteEngine } from '../../src/engines/sqlite/index.ts'
import { SqlTransport } from '../../src/transports/sql/index.ts'
import { statementsFor } from '../../src/transports/sql/statements.ts'
import { eventually } from '../facade/places.ts'
import { startPgbouncer, startPostgres } from '../servers/postgres.ts'
import { sharedUrl } from '../servers/shared.ts'
import { bytes, newQueue, opened, take, texts } from './places.ts'

function newFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'deferq-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'store.db')
}

async function bare(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  onTestFinished(() => client.end().catch(() => undefined))
  await client.connect()
  return client
}

const newSchema = (): string => `t_${randomBytes(5).toString('hex')}`

test('a SQLite file is shared with the engine, whoever opens it first', async () => {
  for (const first of ['engine', 'transport']) {
    const file = newFile()
    const [engine, transport] = [new SqliteEngine({ file }), new SqlTransport({ file })]
    onTestFinished(() => engine.close())
    if (first === 'engine') await engine.open()
    await opened(transport)
    await engine.open()
    const queue = newQueue()
    await transport.publish([{ queue, body: bytes(first) }])
    expect(texts(await take(transport, queue))).toEqual([first])
    expect((await engine.count()).lanes).toEqual([])
  }
})

test('a SQLite file of another program is refused and left as it is', async () => {
  const file = newFile()
  const Driver = await loadDriver()
  const db = new Driver(file, { enableForeignKeyConstraints: false })
  db.exec('CREATE TABLE users (id INTEGER PRIMARY KEY)')
  await expect(new SqlTransport({ file }).open()).rejects.toMatchObject({ code: 'STORE_MISMATCH' })
  expect(db.prepare('SELECT name FROM sqlite_schema').all()).toEqual([{ name: 'users' }])
  db.close()
})

test('with 100,000 messages in SQLite, no statement goes through them all', async () => {
  const file = newFile()
  const transport = await opened(new SqlTransport({ file }))
  const queue = newQueue()
  const Driver = await loadDriver()
  const db = new Driver(file, { enableForeignKeyConstraints: false })
  onTestFinished(() => db.close())
  const fill = (count: number): void =>
    db.exec(`
      WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ${count})
      INSERT INTO messages (queue, ready_at, token, lease_until, body)
      SELECT '${queue}', ${Date.now()} + CASE n % 3 WHEN 0 THEN 3600000 ELSE 0 END,
        CASE n % 3 WHEN 1 THEN n || '.x.y' END, CASE n % 3 WHEN 1 THEN ${Date.now()} + 3600000 END, x'78' FROM n`)
  /** The median of what it takes to reserve, release and ack a few. */
  const time = async (): Promise<number> => {
    const times: number[] = []
    for (let round = 0; round < 21; round++) {
      const began = performance.now()
      const taken = await take(transport, queue)
      await transport.release(taken.slice(0, 5).map((delivery) => ({ delivery })))
      await transport.ack(taken)
      times.push(performance.now() - began)
      expect(taken.length).toBe(10)
    }
    return times.sort((a, b) => a - b)[10] as number
  }
  fill(1_000)
  const before = await time()
  fill(100_000)
  expect(await time()).toBeLessThan(before * 4 + 2)
})

test('with 100,000 messages in PostgreSQL, no statement goes through them all', async () => {
  const url = sharedUrl('postgres')
  const schema = newSchema()
  const transport = await opened(new SqlTransport({ url, schema }))
  const client = await bare(url)
  const queue = newQueue()
  await client.query(
    `INSERT INTO ${schema}.messages (queue, ready_at, token, lease_until, body)
     SELECT $1, now() + CASE n % 3 WHEN 0 THEN interval '1 hour' ELSE interval '0' END,
       CASE n % 3 WHEN 1 THEN n || '.x.y' END, CASE n % 3 WHEN 1 THEN now() + interval '1 hour' END, 'x'
     FROM generate_series(1, 100000) AS n`,
    [queue],
  )
  const taken = await take(transport, queue, { limit: 1_000 })
  expect(taken.length).toBe(1_000)
  const rows = taken.map(({ token }) => Number(token.split('.')[0]))
  const tokens = taken.map(({ token }) => token)
  const sql = statementsFor(schema)
  const calls: [keyof typeof sql, unknown[]][] = [
    ['take', [queue, 1_000, 60_000, 'a.b']],
    ['next', [[queue]]],
    ['peek', [queue, 1_000]],
    ['extend', [rows, tokens, 60_000]],
    ['leave', [[queue], '%.nobody.%']],
    ['move', [rows, tokens, rows.map(() => queue), rows.map(() => 0), rows.map(() => null)]],
    ['ack', [rows, tokens]],
  ]
  // As it is, and with what the planner knows after it has looked: both must do.
  for (const analyzed of [false, true]) {
    if (analyzed) await client.query(`ANALYZE ${schema}.messages`)
    for (const [name, values] of calls) {
      // The best of three: a busy machine can stop any one statement for longer.
      let took = Number.POSITIVE_INFINITY
      let text = ''
      for (let round = 0; round < 3 && took >= 50; round++) {
        await client.query('BEGIN')
        const plan = await client.query(`EXPLAIN (ANALYZE, FORMAT TEXT) ${sql[name]}`, values)
        await client.query('ROLLBACK')
        text = plan.rows.map((row) => row['QUERY PLAN'] as string).join('\n')
        expect(text, `${name}\n${text}`).not.toMatch(/Seq Scan on messages/)
        took = Number(/Execution Time: ([\d.]+)/.exec(text)?.[1])
      }
      if (name === 'leave') continue
      expect(took, `${name}\n${text}`).toBeLessThan(50)
    }
  }
})

test('many may open a fresh PostgreSQL schema at once', async () => {
  const schema = newSchema()
  const all = Array.from(
    { length: 8 },
    () => new SqlTransport({ url: sharedUrl('postgres'), schema, connections: 1 }),
  )
  await Promise.all(all.map((transport) => opened(transport)))
  const [one, two] = all
  const queue = newQueue()
  await one?.publish([{ queue, body: bytes('x') }])
  expect(texts(await take(two as SqlTransport, queue))).toEqual(['x'])
  for (const wrong of ['a b', '', 'x"; drop', 'y'.repeat(50)]) {
    expect(() => new SqlTransport({ url: sharedUrl('postgres'), schema: wrong })).toThrow(/schema/)
  }
})

test('a PostgreSQL wait goes on when its connections are ended, and when the server is started anew', async () => {
  const server = await startPostgres()
  onTestFinished(() => server.stop())
  const queue = newQueue()
  const consumer = await opened(new SqlTransport({ url: server.url }))
  const troubles: string[] = []
  consumer.onTrouble(({ code }) => troubles.push(code))

  const admin = await bare(server.url)
  const first = take(consumer, queue, { waitMs: 15_000 })
  const listening = async (): Promise<number> => {
    const sql = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'deferq' AND query LIKE 'LISTEN%'"
    return (await admin.query(sql)).rows.length
  }
  await eventually('it listens', async () => (await listening()) === 1)
  await admin.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'deferq'",
  )
  await eventually('it listens again', async () => (await listening()) === 1)
  const producer = await opened(new SqlTransport({ url: server.url }))
  await producer.publish([{ queue, body: bytes('a') }])
  expect(texts(await first)).toEqual(['a'])

  const second = take(consumer, queue, { waitMs: 15_000 })
  await server.restart()
  await eventually('the server takes it', () =>
    producer.publish([{ queue, body: bytes('b') }]).then(
      () => true,
      () => false,
    ),
  )
  expect(texts(await second)).toEqual(['b'])
})

test('a pooler that shares sessions will do, with a way of its own for what is listened to', async () => {
  const direct = sharedUrl('postgres')
  const pooler = await startPgbouncer(direct)
  onTestFinished(() => pooler.stop())
  const schema = newSchema()
  const [one, two] = [
    await opened(new SqlTransport({ url: pooler.url, listenUrl: direct, schema })),
    await opened(new SqlTransport({ url: pooler.url, schema })),
  ]
  const queue = newQueue()
  const waiting = take(one, queue, { waitMs: 8_000 })
  await sleep(200)
  const began = performance.now()
  await two.publish([{ queue, body: bytes('a') }])
  const taken = await waiting
  expect(texts(taken)).toEqual(['a'])
  // Less than the second after which a wait looks by itself.
  expect(performance.now() - began).toBeLessThan(800)
  expect(await one.release(taken.map((delivery) => ({ delivery, body: bytes('b') })))).toEqual(['done'])
  // The one that hears nothing looks by itself.
  const again = await take(two, queue, { waitMs: 8_000 })
  expect(texts(again)).toEqual(['b'])
  expect(await two.ack(again)).toEqual(['done'])
})

test('while PostgreSQL is away, calls fail in bounded time', async () => {
  const server = await startPostgres()
  onTestFinished(() => server.stop())
  const queue = newQueue()
  const transport = await opened(new SqlTransport({ url: server.url, timeoutMs: 800 }))
  await server.kill9()
  const began = performance.now()
  await expect(transport.publish([{ queue, body: bytes('x') }])).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
  })
  await expect(take(transport, queue, { waitMs: 300 })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  expect(performance.now() - began).toBeLessThan(5_000)
})
