// The servers that the tests of Postgres rely on: they come up, and break when they are told to.
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { startPgbouncer, startPostgres } from '../servers/postgres.ts'
import { sharedUrl } from '../servers/shared.ts'

const stops: (() => Promise<void>)[] = []
afterAll(() => Promise.all(stops.map((stop) => stop())))

async function ask(url: string, sql = 'select 1 as one'): Promise<unknown[]> {
  const client = new pg.Client({
    connectionString: url,
    query_timeout: 1_000,
    connectionTimeoutMillis: 1_000,
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return (await client.query(sql)).rows
  } finally {
    client.connection.stream.destroy()
  }
}

test('the shared server answers, through a pooler too', async () => {
  expect(await ask(sharedUrl('postgres'))).toEqual([{ one: 1 }])
  const pooler = await startPgbouncer(sharedUrl('postgres'))
  stops.push(() => pooler.stop())
  expect(await ask(pooler.url)).toEqual([{ one: 1 }])
})

test('a server of its own keeps what was committed when it is killed, and freezes with all its connections', async () => {
  const server = await startPostgres({ fsync: true })
  stops.push(() => server.stop())
  await ask(server.url, 'create table kept as select 7 as n')
  await server.kill9()
  await expect(ask(server.url)).rejects.toThrow('ECONNREFUSED')
  await server.restart()
  expect(await ask(server.url, 'select n from kept')).toEqual([{ n: 7 }])

  const client = new pg.Client({ connectionString: server.url, query_timeout: 300 })
  await client.connect()
  await server.pause()
  await expect(client.query('select 1')).rejects.toThrow('timeout')
  server.continue()
  expect(await ask(server.url)).toEqual([{ one: 1 }])
  await client.end()
})
