// What every user of the driver relies on: bounded calls, connections that come back, and errors that say what to do.
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { PostgresDriver } from '../../src/drivers/postgres.ts'
import type { PostgresServer } from '../servers/postgres.ts'
import { startPgbouncer, startPostgres } from '../servers/postgres.ts'
import { sharedUrl } from '../servers/shared.ts'

const stops: (() => Promise<void>)[] = []
afterAll(() => Promise.all(stops.map((stop) => stop())))

async function server(options: Parameters<typeof startPostgres>[0] = {}): Promise<PostgresServer> {
  const started = await startPostgres(options)
  stops.push(() => started.stop())
  return started
}

function driver(options: ConstructorParameters<typeof PostgresDriver>[0]): PostgresDriver {
  const made = new PostgresDriver(options)
  onTestFinished(() => made.close())
  return made
}

test('a wrong password is told as one, and shown to nobody', async () => {
  const { url } = await server({ password: 'right' })
  const wrong = driver({ url: url.replace('right', 'secret-but-wrong') })
  const error = await wrong.query('select 1').catch((error: Error) => error)
  expect(error).toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: expect.stringMatching(/refuses the login .*Check the user and the password/),
  })
  expect(JSON.stringify(error)).not.toContain('secret-but-wrong')
  expect(await driver({ url }).query('select 1 as one')).toEqual([{ one: 1 }])
})

test('a database that is not there is named', async () => {
  const url = sharedUrl('postgres').replace(/postgres$/, 'nowhere')
  await expect(driver({ url }).query('select 1')).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: expect.stringContaining('"nowhere"'),
  })
})

test('a server that is not there fails a call in time', async () => {
  const away = driver({ url: 'postgres://user:secret@127.0.0.1:1/none', timeoutMs: 500 })
  const from = performance.now()
  await expect(away.query('select 1')).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: expect.not.stringContaining('secret'),
  })
  expect(performance.now() - from).toBeLessThan(2_000)
})

test('a statement whose answer was lost is sent again where that is harmless, and only there', async () => {
  const postgres = driver({ url: sharedUrl('postgres') })
  const killer = driver({ url: sharedUrl('postgres') })
  const slow = async (again: boolean): Promise<unknown> => {
    const asked = postgres.query("select pg_sleep(0.3), 'here' as answer", [], again)
    asked.catch(() => undefined)
    const kill = `select pg_terminate_backend(pid) from pg_stat_activity
      where query like 'select pg_sleep(0.3)%' and state = 'active' and pid <> pg_backend_pid()`
    for (let killed = 0; killed === 0; ) killed = (await killer.query(kill)).length
    return asked
  }
  await expect(slow(true)).resolves.toMatchObject([{ answer: 'here' }])
  await expect(slow(false)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  expect(await postgres.query('select 1 as one')).toEqual([{ one: 1 }])
})

test('a transaction that meets a deadlock is done again', async () => {
  const postgres = driver({ url: sharedUrl('postgres') })
  await postgres.query('create table if not exists crossing (id int primary key, n int not null default 0)')
  await postgres.query('insert into crossing (id) values (1), (2) on conflict (id) do update set n = 0')
  const lock = 'update crossing set n = n + 1 where id = $1'
  let arrived = 0
  let both: () => void = () => undefined
  const met = new Promise<void>((resolve) => {
    both = resolve
  })
  const cross = (first: number, second: number) =>
    postgres.transaction(async (query) => {
      await query(lock, [first])
      if (++arrived === 2) both()
      await met
      await query(lock, [second])
    })
  await Promise.all([cross(1, 2), cross(2, 1)])
  expect(arrived).toBe(3)
  expect(await postgres.query('select n from crossing')).toEqual([{ n: 2 }, { n: 2 }])
  await postgres.query('drop table crossing')
})

test('a frozen server fails a call in time, and is used again when it answers; closing does not wait for it', async () => {
  const frozen = await server()
  const postgres = driver({ url: frozen.url, timeoutMs: 400 })
  await postgres.query('select 1')
  await frozen.pause()
  const from = performance.now()
  await expect(postgres.query('select 1')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  expect(performance.now() - from).toBeLessThan(2_000)
  frozen.continue()
  expect(await postgres.query('select 1 as one')).toEqual([{ one: 1 }])
  await frozen.pause()
  await postgres.close()
  frozen.continue()
  await expect(postgres.query('select 1')).rejects.toMatchObject({ code: 'CLOSED' })
})

test('a server that comes back is found within the call that waits for it', async () => {
  const restarted = await server()
  const postgres = driver({ url: restarted.url, timeoutMs: 10_000 })
  await postgres.query('select 1')
  await restarted.kill9()
  const asked = postgres.query('select 1 as one', [], true)
  await restarted.restart()
  expect(await asked).toEqual([{ one: 1 }])
})

test('what is no URL of a PostgreSQL database is refused at once', () => {
  for (const url of ['postgres', 'mysql://localhost/db', 'postgres://[::1', '']) {
    expect(() => new PostgresDriver({ url })).toThrow(expect.objectContaining({ code: 'INVALID_URL' }))
  }
  expect(() => new PostgresDriver({})).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
})

test('a statement that is sent over and over is prepared once on each connection', async () => {
  const postgres = driver({ url: sharedUrl('postgres'), connections: 1 })
  for (const one of [1, 2, 3]) expect(await postgres.call('select $1::int as one', [one])).toEqual([{ one }])
  const prepared = "select statement from pg_prepared_statements where name like 'deferq_%'"
  expect(await postgres.query(prepared)).toEqual([{ statement: 'select $1::int as one' }])
})

test('behind a pooler that shares sessions it is sent whole, once that is known', async () => {
  const pooler = await startPgbouncer(sharedUrl('postgres'))
  stops.push(() => pooler.stop())
  const drivers = [1, 2, 3].map(() => driver({ url: pooler.url }))
  const text = 'select $1::int as one, pg_backend_pid() as session, pg_sleep(0.01)'
  const ask = async (index: number): Promise<unknown> =>
    (await (drivers[index % 3] as PostgresDriver).call(text, [index]))[0]
  // Many at once, so that each driver meets sessions of the others.
  const answers = await Promise.all(Array.from({ length: 60 }, (_, index) => ask(index)))
  expect(answers).toEqual(answers.map((_, one) => expect.objectContaining({ one })))
  expect(new Set(answers.map((answer) => (answer as { session: number }).session)).size).toBeGreaterThan(1)
})
