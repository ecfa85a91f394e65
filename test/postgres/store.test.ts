// What the PostgreSQL engine promises beyond the contract: schemas, migrations, its own connection for news, and crashes.
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { eventually, newKey, newRun } from '../../src/conformance/scene.ts'
import type { Draft, Engine, Hint } from '../../src/contract/engine.ts'
import { PostgresDriver } from '../../src/drivers/postgres.ts'
import type { PostgresEngineOptions } from '../../src/engines/postgres/index.ts'
import { PostgresEngine } from '../../src/engines/postgres/index.ts'
import { SCHEMA_VERSION } from '../../src/engines/postgres/schema.ts'
import { DeferQ, task, Worker } from '../../src/index.ts'
import type { PostgresServer } from '../servers/postgres.ts'
import { startPgbouncer, startPostgres } from '../servers/postgres.ts'
import { sharedUrl } from '../servers/shared.ts'
import { dropSchema, newSchema } from './factory.ts'

const stops: (() => Promise<void>)[] = []
afterAll(() => Promise.all(stops.map((stop) => stop())))

async function own(start: () => Promise<PostgresServer>): Promise<PostgresServer> {
  const server = await start()
  stops.push(() => server.stop())
  return server
}

function engineOf(options: Partial<PostgresEngineOptions> & { schema: string }): {
  engine: PostgresEngine
  hints: Hint[]
} {
  const url = options.pool ? {} : { url: sharedUrl('postgres') }
  const engine = new PostgresEngine({ ...url, connections: 2, ...options })
  const hints: Hint[] = []
  engine.listen((hint) => hints.push(hint))
  onTestFinished(() => engine.close())
  return { engine, hints }
}

function schemaOf(name = newSchema(), url = sharedUrl('postgres')): string {
  onTestFinished(() => dropSchema(url, name))
  return name
}

function driverOf(url = sharedUrl('postgres')): PostgresDriver {
  const driver = new PostgresDriver({ url })
  onTestFinished(() => driver.close())
  return driver
}

const draft = (more: Partial<Draft> = {}): Draft => ({
  id: newKey() + newRun(),
  name: 'job',
  queue: 'default',
  params: '{}',
  priority: 0,
  delayMs: 0,
  policy: { maxAttempts: 3, resultTtlMs: 60_000, staleTtlMs: 0, failureTtlMs: 0, retentionMs: 60_000 },
  ...more,
})
const WANT = { names: ['job'], limit: 1, leaseMs: 30_000 }

async function workOne(engine: Engine, result = '1'): Promise<string> {
  const [claimed] = (await engine.claim(WANT)).claimed
  if (claimed === undefined) throw new Error('nothing to claim')
  await engine.settle([{ id: claimed.entry.id, token: claimed.token, kind: 'completed', result }])
  return claimed.entry.id
}

test('eight connections open a fresh store at once, and all of them can use it', async () => {
  const schema = schemaOf()
  const engines = Array.from({ length: 8 }, () => engineOf({ schema }).engine)
  await Promise.all(engines.map((engine) => engine.open()))
  const verdicts = await Promise.all(engines.map((engine) => engine.admit([draft()])))
  expect(verdicts.flat().map(({ outcome }) => outcome)).toEqual(Array(8).fill('created'))
  expect((await engines[0]?.count())?.totals.created).toBe(8)
})

test('a schema may have any name', async () => {
  for (const name of ['we"ird; drop', 'Großbuch staben', "quo'te", '$1']) {
    const { engine } = engineOf({ schema: schemaOf(`${name} ${newSchema()}`) })
    const one = draft()
    expect((await engine.admit([one]))[0]?.outcome).toBe('created')
    expect(await workOne(engine)).toBe(one.id)
    expect((await engine.admit([{ ...one, id: one.id.slice(0, 64) + newRun() }]))[0]?.outcome).toBe('hit')
  }
})

test('a URL names the schema, and how many connections; what is none of ours is for the client to read', async () => {
  const schema = schemaOf()
  const engine = new PostgresEngine({
    url: `${sharedUrl('postgres')}?schema=${schema}&connections=1&application_name=mine`,
  })
  onTestFinished(() => engine.close())
  await engine.admit([draft()])
  const rows = await driverOf().query(`select count(*)::int as n from ${schema}.runs`)
  expect(rows).toEqual([{ n: 1 }])
  expect(() => new PostgresEngine({ url: `${sharedUrl('postgres')}?connections=many` })).toThrow(
    expect.objectContaining({ code: 'INVALID_URL' }),
  )
  expect(() => new PostgresEngine({ url: sharedUrl('postgres'), schema: 'x'.repeat(64) })).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION' }),
  )
})

test('a store made by 0.1 is refused, and the message says what to do', async () => {
  const schema = schemaOf()
  await engineOf({ schema }).engine.open()
  await driverOf().query(`update ${schema}.engine set version = 1`)
  await expect(engineOf({ schema }).engine.open()).rejects.toThrow(
    /made by deferq 0\.1 .* then use another schema, or drop this one/,
  )
})

test('a store made by a newer version is refused', async () => {
  const schema = schemaOf()
  await engineOf({ schema }).engine.open()
  await driverOf().query(`update ${schema}.engine set version = $1`, [SCHEMA_VERSION + 1])
  await expect(engineOf({ schema }).engine.open()).rejects.toMatchObject({ code: 'STORE_MISMATCH' })
})

test('a pool of the caller’s own is used, and left open', async () => {
  const pool = new pg.Pool({ connectionString: sharedUrl('postgres'), max: 2 })
  onTestFinished(() => pool.end())
  const { engine, hints } = engineOf({ pool, schema: schemaOf() })
  const one = draft({ watch: true })
  await engine.admit([one])
  await workOne(engine)
  await eventually('the end is told', () => hints.some((hint) => hint.kind === 'ended' && hint.id === one.id))
  await engine.close()
  expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
})

test('the connection for news is cut off: those who wait are told to look, and hear again', async () => {
  const schema = schemaOf()
  const { engine, hints } = engineOf({ schema })
  await engine.open()
  const killed = await driverOf().query(
    `select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen "deferq:%' or query like 'select 1'`,
  )
  expect(killed.length).toBeGreaterThan(0)
  await eventually('it says that news may have been missed', () =>
    hints.some(({ kind }) => kind === 'changed'),
  )
  const one = draft({ watch: true })
  await engine.admit([one])
  await workOne(engine)
  await eventually('the end is told', () => hints.some((hint) => hint.kind === 'ended' && hint.id === one.id))
})

test('behind a pooler that shares sessions no news arrives: it says so, and everybody is told to look', async () => {
  const pooler = await own(() => startPgbouncer(sharedUrl('postgres')))
  const { engine, hints } = engineOf({ url: pooler.url, schema: schemaOf() })
  await engine.open()
  expect(engine.caveats.join()).toContain('listenUrl')
  await eventually('it is told to look', () => hints.some(({ kind }) => kind === 'changed'))
  const one = draft({ watch: true })
  await engine.admit([one])
  expect(await workOne(engine)).toBe(one.id)
})

test('batches that cross each other’s keys wait for each other, and never for ever', async () => {
  const schema = schemaOf()
  const engines = Array.from({ length: 4 }, () => engineOf({ schema }).engine)
  const keys = Array.from({ length: 40 }, newKey)
  const deadlocks = 'select deadlocks::int as n from pg_stat_database where datname = current_database()'
  const driver = driverOf()
  const [before] = await driver.query(deadlocks)
  for (let round = 0; round < 15; round++) {
    await Promise.all(
      engines.map(async (engine, index) => {
        const shuffled = [...keys].sort(() => Math.random() - 0.5)
        await engine.admit(shuffled.map((key) => draft({ id: key + newRun(), refresh: round % 2 === 0 })))
        if (index === 0) await engine.invalidate({ keys: shuffled })
        if (index === 1) {
          const { claimed } = await engine.claim({ ...WANT, limit: 40 })
          await engine.settle(
            claimed.map(({ entry, token }) => ({ id: entry.id, token, kind: 'completed', result: '1' })),
          )
        }
      }),
    )
  }
  await sleep(1_100) // the server tells of deadlocks once a second
  const [after] = await driver.query(deadlocks)
  expect(after).toEqual(before)
  const { claimed } = await (engines[0] as Engine).claim({ ...WANT, limit: 1_000 })
  expect(new Set(claimed.map(({ entry }) => entry.id.slice(0, 64))).size).toBe(claimed.length)
})

test('a worker that waits hears of work that was committed at the very moment it began to wait', async () => {
  const schema = schemaOf()
  const worker = engineOf({ schema })
  const { engine } = engineOf({ schema })
  await Promise.all([worker.engine.open(), engine.open()])
  for (let round = 0; round < 30; round++) {
    const one = draft()
    const [looked] = await Promise.all([worker.engine.claim(WANT), engine.admit([one])])
    let { claimed, nextDueMs } = looked
    const heard = worker.hints.length
    if (claimed.length === 0) {
      await Promise.race([
        sleep(nextDueMs ?? 60_000, undefined, { ref: false }),
        eventually('work is told', () => worker.hints.slice(heard - 1).some(({ kind }) => kind === 'work')),
      ])
      claimed = (await worker.engine.claim(WANT)).claimed
    }
    expect(claimed.map(({ entry }) => entry.id)).toEqual([one.id])
  }
})

test('what was acknowledged outlives a crash of the server in full work, and everything goes on', async () => {
  const server = await own(() => startPostgres({ fsync: true }))
  const { engine } = engineOf({ url: server.url, schema: 'deferq', timeoutMs: 10_000 })
  await engine.open()
  const acknowledged: string[] = []
  let stopped = false
  const producers = Array.from({ length: 4 }, async () => {
    while (!stopped) {
      const drafts = Array.from({ length: 10 }, () => draft())
      await engine.admit(drafts)
      acknowledged.push(...drafts.map(({ id }) => id))
    }
  })
  const settled: string[] = []
  const worker = (async () => {
    while (!stopped) {
      const { claimed } = await engine
        .claim({ ...WANT, limit: 10, leaseMs: 500 })
        .catch(() => ({ claimed: [] }))
      const outcomes = claimed.map(
        ({ entry, token }) => ({ id: entry.id, token, kind: 'completed', result: '1' }) as const,
      )
      const { answers } = await engine.settle(outcomes)
      settled.push(...outcomes.filter((_, index) => answers[index] === 'settled').map(({ id }) => id))
    }
  })()
  for (let crash = 0; crash < 3; crash++) {
    const from = settled.length
    await eventually('there is work under way', () => settled.length > from + 50, 20_000)
    await server.kill9()
    await server.restart()
  }
  stopped = true
  await Promise.all([...producers, worker])
  const missing: string[] = []
  for (let at = 0; at < acknowledged.length; at += 1_000) {
    const ids = acknowledged.slice(at, at + 1_000)
    const runs = await engine.read(ids)
    missing.push(...ids.filter((_, index) => runs[index] === undefined))
  }
  expect(missing).toEqual([])
  for (let at = 0; at < settled.length; at += 1_000) {
    const runs = await engine.read(settled.slice(at, at + 1_000))
    expect(runs.filter((run) => run?.status !== 'completed')).toEqual([])
  }
}, 60_000)

test('counters are added up, and lanes that hold nothing go', async () => {
  const schema = schemaOf()
  const { engine } = engineOf({ schema })
  const driver = driverOf()
  await engine.admit([draft({ queue: 'kept' })])
  await driver.query(
    `insert into ${schema}.lanes (name, queue, priority) select 'x', 'q' || n, 0 from generate_series(1, 1500) n`,
  )
  await driver.query(`insert into ${schema}.tallies select 0, 'hit', 1 from generate_series(1, 1500)`)
  await engine.sweep(100)
  const [left] = await driver.query(
    `select (select count(*) from ${schema}.lanes)::int as lanes, (select count(*) from ${schema}.tallies)::int as tallies`,
  )
  expect(left).toEqual({ lanes: 1, tallies: 3 })
  expect(await engine.count()).toEqual({
    lanes: [{ queue: 'kept', name: 'job', pending: 1, running: 0 }],
    paused: [],
    totals: { created: 1, hit: 1_500 },
  })
})

test('a text with a NUL character is refused, and says why', async () => {
  const { engine } = engineOf({ schema: schemaOf() })
  await expect(engine.admit([draft({ params: 'a\0b' })])).rejects.toMatchObject({ code: 'MALFORMED_VALUE' })
})

test('what somebody holds for a moment is not taken for an empty store by a worker that ends with it', async () => {
  const schema = schemaOf()
  const url = `${sharedUrl('postgres')}?schema=${schema}`
  const deferq = new DeferQ({ url, tasks: [task('held', { run: async () => 1 })] })
  onTestFinished(() => deferq.close())
  await deferq.dispatch('held', {})
  const holder = new pg.Client(sharedUrl('postgres'))
  await holder.connect()
  await holder.query('begin')
  await holder.query(`select from ${schema}.runs for update`)
  const worked = new Worker(deferq, { stopWhenEmpty: true }).run()
  await sleep(300)
  await holder.query('commit')
  await holder.end()
  expect(await worked).toMatchObject({ reason: 'empty', completed: 1 })
})

test('a schedule that somebody holds when it is due is looked at again with pauses, and ticks once it is free', async () => {
  const schema = schemaOf()
  const { engine } = engineOf({ schema })
  const claim = engine.claim.bind(engine)
  let looks = 0
  engine.claim = (want) => {
    if (!want.names.includes('held')) looks++
    return claim(want)
  }
  let runs = 0
  const deferq = new DeferQ({ engine, tasks: [task('held', { run: async () => ++runs })] })
  onTestFinished(() => deferq.close())
  await deferq.schedule('often', { every: '1s', name: 'held', params: {} })
  const holder = new pg.Client(sharedUrl('postgres'))
  await holder.connect()
  await holder.query('begin')
  await holder.query(`select from ${schema}.runs for update`)
  const worker = new Worker(deferq)
  onTestFinished(() => worker.abort()?.then(() => undefined))
  worker.run().catch(() => undefined)
  await sleep(2_000)
  expect(looks).toBeLessThan(40)
  expect(runs).toBe(0)
  await holder.query('commit')
  await holder.end()
  await eventually('it ticks', () => runs > 0)
})
