// Contradictions planted in a PostgreSQL store: a scan names each, a repair repairs it, and the next scan finds nothing.
import { expect, onTestFinished, test } from 'vitest'
import { newKey, newRun } from '../../src/conformance/scene.ts'
import type { Draft, Engine, Hint, Maintenance, Problem } from '../../src/contract/engine.ts'
import { PostgresDriver } from '../../src/drivers/postgres.ts'
import { PostgresEngine } from '../../src/engines/postgres/index.ts'
import { sharedUrl } from '../servers/shared.ts'
import { dropSchema, newSchema } from './factory.ts'

const WANT = { names: ['job', 'after'], limit: 1, leaseMs: 60_000 }
const POLICY = { maxAttempts: 3, resultTtlMs: 60_000, staleTtlMs: 0, failureTtlMs: 0, retentionMs: 60_000 }

const draft = (more: Partial<Draft> = {}): Draft => ({
  id: newKey() + newRun(),
  name: 'job',
  queue: 'default',
  params: '{}',
  priority: 0,
  delayMs: 0,
  policy: POLICY,
  ...more,
})
const follow = (parent: Draft) => {
  const id = parent.id.slice(0, 8) + newKey().slice(8) + newRun()
  return { on: 'success', draft: draft({ id, name: 'after' }) } as const
}

interface Scene {
  schema: string
  engine: Engine
  maintenance: Maintenance
  /** A statement in which `S` stands for the schema. */
  plant(sql: string): Promise<unknown>
}

async function scene(): Promise<Scene> {
  const schema = newSchema()
  const url = sharedUrl('postgres')
  const engine = new PostgresEngine({ url, schema, connections: 2 })
  const driver = new PostgresDriver({ url, connections: 1 })
  onTestFinished(async () => {
    await engine.close()
    await driver.close()
    await dropSchema(url, schema)
  })
  await engine.open()
  return {
    schema,
    engine,
    maintenance: await engine.maintenance(),
    plant: (sql) => driver.query(sql.replaceAll('S.', `${schema}.`)),
  }
}

async function complete(engine: Engine): Promise<void> {
  const [first] = (await engine.claim(WANT)).claimed
  if (first === undefined) throw new Error('there is nothing to claim')
  await engine.settle([{ id: first.entry.id, token: first.token, kind: 'completed', result: '"done"' }])
}

/** The problems that a scan finds; repaired, they are gone. */
async function repaired(maintenance: Maintenance): Promise<Problem[]> {
  const { problems } = await maintenance.scan(100)
  expect(await maintenance.repair(problems)).toEqual(problems.map(() => true))
  expect((await maintenance.scan(100)).problems).toEqual([])
  expect(await maintenance.repair(problems), 'a repeated repair changes nothing').toEqual(
    problems.map(() => false),
  )
  return problems
}

test('a lane whose tallies are wrong', async () => {
  const { engine, maintenance, plant } = await scene()
  await engine.admit([draft(), draft()])
  await plant("insert into S.tallies select id, 'pending', 5 from S.lanes")
  await plant("insert into S.tallies select id, 'running', 1 from S.lanes")
  expect(await repaired(maintenance)).toMatchObject([
    { kind: 'counter', detail: expect.stringContaining('counts 7 pending; there are 2') },
    { kind: 'counter', detail: expect.stringContaining('counts 1 running; there are 0') },
  ])
  expect((await engine.count()).lanes).toEqual([{ queue: 'default', name: 'job', pending: 2, running: 0 }])
})

test('a run whose end would forget its follow-ups, and one that would leave the run behind it', async () => {
  const { engine, maintenance, plant } = await scene()
  const parent = draft()
  await engine.admit([{ ...parent, then: [follow(parent)] }])
  await plant('update S.runs set followed = false')
  expect(await repaired(maintenance)).toMatchObject([
    { kind: 'counter', id: parent.id, where: 'runs followed' },
  ])
  await complete(engine)
  expect((await engine.claim(WANT)).claimed.map(({ entry }) => entry.name)).toEqual(['after'])

  const first = draft()
  await engine.admit([first])
  const [claimed] = (await engine.claim(WANT)).claimed
  const second = draft({ id: first.id.slice(0, 64) + newRun(), onDuplicate: { running: 'rerunAfter' } })
  await engine.admit([second])
  await plant('update S.runs set has_next = false')
  expect(await repaired(maintenance)).toMatchObject([
    { kind: 'counter', id: first.id, where: 'runs has_next' },
  ])
  // The token of before says that nothing is tied to the run; the row says otherwise by now.
  await engine.settle([{ id: first.id, token: claimed?.token ?? '', kind: 'failed', error: '"x"' }])
  expect((await engine.claim(WANT)).claimed.map(({ entry }) => entry.id)).toEqual([second.id])
})

test('follow-ups of a run that has ended, and of a run that is gone', async () => {
  const { engine, maintenance, plant } = await scene()
  const parent = draft()
  await engine.admit([parent])
  await complete(engine)
  await plant("insert into S.follow_ups (key, tail, id, body) select key, tail, 'a', '{}' from S.runs")
  expect(await repaired(maintenance)).toMatchObject([{ kind: 'orphan', id: parent.id }])
  await plant(
    "insert into S.follow_ups (key, tail, id, body) values (sha256('x'), '\\x000000000000000000000000', 'b', '{}')",
  )
  expect(await repaired(maintenance)).toMatchObject([
    { kind: 'orphan', detail: expect.stringContaining('gone') },
  ])
})

test('a run that waits behind nothing that lives', async () => {
  const { engine, maintenance, plant } = await scene()
  const first = draft()
  await engine.admit([first])
  await engine.claim(WANT)
  const second = draft({ id: first.id.slice(0, 64) + newRun(), onDuplicate: { running: 'rerunAfter' } })
  await engine.admit([second])
  await plant(
    'update S.runs set status = 3, token = null, lease_until = null, expires_at = 9e15, finished_at = 0 where status = 1',
  )
  await plant("insert into S.tallies select id, 'running', -1 from S.lanes")
  expect(await repaired(maintenance)).toMatchObject([{ kind: 'no-ticket', id: second.id }])
  expect((await engine.claim(WANT)).claimed.map(({ entry }) => entry.id)).toEqual([second.id])
})

test('a run of a lane that is not there is shown as it lies there', async () => {
  const { engine, maintenance, plant } = await scene()
  const one = draft()
  await engine.admit([one])
  await plant('update S.runs set lane = 4711')
  const found = await maintenance.inspect(one.id)
  expect(found?.problems).toMatchObject([{ kind: 'unreadable', id: one.id }])
  expect(JSON.parse(found?.raw ?? '')).toMatchObject({ lane: 4711 })
})

test('no token is shown whole, and a purge tells near caches', async () => {
  const { engine, maintenance } = await scene()
  const hints: Hint[] = []
  engine.listen((hint) => hints.push(hint))
  const one = draft()
  await engine.admit([one])
  const [claimed] = (await engine.claim(WANT)).claimed
  const token = claimed?.token as string
  const shown = JSON.stringify(await maintenance.inspect(one.id))
  expect(shown).not.toContain(token)
  expect(shown).toContain(token.slice(0, 6))
  await engine.settle([{ id: one.id, token, kind: 'completed', result: '"done"' }])
  expect(await maintenance.purge([one.id, 'no id'])).toEqual([true, false])
  await expect
    .poll(() => hints.filter(({ kind }) => kind === 'invalidated'))
    .toEqual([{ kind: 'invalidated', selector: { keys: [one.id.slice(0, 64)] } }])
})

test('a migration is told before it is done, and done where the engine itself may not', async () => {
  const schema = newSchema()
  const url = sharedUrl('postgres')
  const engine = new PostgresEngine({ url: `${url}?migrate=off`, schema })
  onTestFinished(async () => {
    await engine.close()
    await dropSchema(url, schema)
  })
  const maintenance = await engine.maintenance()
  const steps = await maintenance.migrate({ dryRun: true })
  expect(steps[0]).toBe(`create schema if not exists "${schema}"`)
  await expect(engine.open()).rejects.toMatchObject({
    code: 'STORE_MISMATCH',
    message: expect.stringContaining('deferq store migrate'),
  })
  expect(await maintenance.migrate()).toEqual(steps)
  expect(await maintenance.migrate()).toEqual([])
  await engine.open()

  // A role with more rights may carry out the printed statements.
  const byHand = newSchema()
  onTestFinished(() => dropSchema(url, byHand))
  const other = new PostgresEngine({ url, schema: byHand, migrate: false })
  onTestFinished(() => other.close())
  const printed = await (await other.maintenance()).migrate({ dryRun: true })
  const driver = new PostgresDriver({ url, connections: 1 })
  onTestFinished(() => driver.close())
  await driver.query(printed.map((step) => `${step};`).join('\n'))
  await other.open()
  expect((await other.admit([draft()]))[0]?.outcome).toBe('created')
})
