// Contradictions planted in a SQLite file: a scan names each, a repair repairs it, and the next scan finds nothing.
import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Draft, Engine, Maintenance, Problem } from '../../src/contract/engine.ts'
import { SqliteEngine } from '../../src/engines/sqlite/index.ts'
import { draft, engineOn, newFile, newId, raw } from './store.ts'

const WANT = { names: ['job', 'after'], limit: 1, leaseMs: 60_000 }

const follow = (parent: Draft, on: 'success' | 'failure' = 'success') =>
  ({ on, draft: draft({ id: parent.id.slice(0, 8) + newId().slice(8), name: 'after' }) }) as const

async function scene(): Promise<{ file: string; engine: Engine; maintenance: Maintenance }> {
  const file = newFile()
  const engine = await engineOn(file)
  return { file, engine, maintenance: await engine.maintenance() }
}

async function complete(engine: Engine): Promise<void> {
  const { claimed } = await engine.claim(WANT)
  const [first] = claimed
  if (first === undefined) throw new Error('there is nothing to claim')
  const { entry, token } = first
  await engine.settle([{ id: entry.id, token, kind: 'completed', result: '"done"' }])
}

/** The one problem that a scan finds; repaired, it is gone. */
async function repaired(maintenance: Maintenance): Promise<Problem> {
  const { problems } = await maintenance.scan(100)
  expect(problems).toHaveLength(1)
  expect(await maintenance.repair(problems)).toEqual([true])
  expect((await maintenance.scan(100)).problems).toEqual([])
  expect(await maintenance.repair(problems), 'a repair that is repeated changes nothing').toEqual([false])
  return problems[0] as Problem
}

test('a lane that counts wrong', async () => {
  const { file, engine, maintenance } = await scene()
  await engine.admit([draft(), draft()])
  ;(await raw(file)).exec('UPDATE lanes SET pending = 7, running = 1 WHERE id > 0')
  expect(await repaired(maintenance)).toMatchObject({
    kind: 'counter',
    detail: expect.stringContaining('7 pending'),
  })
  expect((await engine.count()).lanes).toEqual([{ queue: 'default', name: 'job', pending: 2, running: 0 }])
})

test('a run whose end would forget its follow-ups', async () => {
  const { file, engine, maintenance } = await scene()
  const parent = draft()
  await engine.admit([{ ...parent, then: [follow(parent)] }])
  ;(await raw(file)).exec('UPDATE runs SET tied = 0')
  expect(await repaired(maintenance)).toMatchObject({ kind: 'counter', id: parent.id })
  await complete(engine)
  expect((await engine.claim(WANT)).claimed.map(({ entry }) => entry.name)).toEqual(['after'])
})

test('a follow-up of a run that has ended, and one of a run that is gone', async () => {
  const { file, engine, maintenance } = await scene()
  const parent = draft()
  await engine.admit([parent])
  await complete(engine)
  const db = await raw(file)
  db.exec("INSERT INTO follow_ups (run, id, body) SELECT seq, 'a', '{}' FROM runs")
  expect(await repaired(maintenance)).toMatchObject({ kind: 'orphan', id: parent.id })
  db.exec("INSERT INTO follow_ups (run, id, body) VALUES (12345, 'b', '{}')")
  expect(await repaired(maintenance)).toMatchObject({
    kind: 'orphan',
    detail: expect.stringContaining('gone'),
  })
})

test('a run that waits behind nothing that lives', async () => {
  const { file, engine, maintenance } = await scene()
  const first = draft()
  await engine.admit([first])
  await engine.claim(WANT)
  const second = draft({ id: newId(first.id.slice(0, 64)), onDuplicate: { running: 'rerunAfter' } })
  await engine.admit([second])
  const db = await raw(file)
  db.exec(`UPDATE runs SET slot = 99, status = 2, token = NULL, lease_until = NULL, expires_at = 9e15, result = '1',
    fresh_until = 0, stale_until = 0, finished_at = 0 WHERE slot = 0`)
  db.exec('UPDATE lanes SET running = 0')
  expect(await repaired(maintenance)).toMatchObject({ kind: 'no-ticket', id: second.id })
  expect((await engine.claim(WANT)).claimed.map(({ entry }) => entry.id)).toEqual([second.id])
})

test('a row that cannot be read is shown as it lies there, and stays', async () => {
  const { file, engine, maintenance } = await scene()
  const one = draft()
  await engine.admit([one])
  ;(await raw(file)).exec("UPDATE runs SET errors = 'no list'")
  const { problems } = await maintenance.scan(100)
  expect(problems).toMatchObject([{ kind: 'unreadable', id: one.id }])
  expect(await maintenance.repair(problems)).toEqual([false])
  const found = await maintenance.inspect(one.id)
  expect(found?.problems).toMatchObject([{ kind: 'unreadable' }])
  expect(JSON.parse(found?.raw ?? '')).toMatchObject({ id: one.id, errors: 'no list' })
  expect(await maintenance.purge([one.id])).toEqual([true])
  expect(await maintenance.inspect(one.id)).toBeUndefined()
})

test('no token is shown whole', async () => {
  const { engine, maintenance } = await scene()
  const one = draft()
  await engine.admit([one])
  const { claimed } = await engine.claim(WANT)
  const token = claimed[0]?.token as string
  const shown = JSON.stringify(await maintenance.inspect(one.id))
  expect(shown).not.toContain(token)
  expect(shown).toContain(token.slice(0, 6))
})

test('a migration is told before it is done, and done where the engine itself may not', async () => {
  const file = newFile()
  const engine = new SqliteEngine({ file, migrate: false })
  const maintenance = await engine.maintenance()
  const steps = await maintenance.migrate({ dryRun: true })
  expect(steps[0]).toMatch(/^CREATE TABLE runs/)
  expect(existsSync(file)).toBe(false)
  await expect(engine.open()).rejects.toMatchObject({ code: 'STORE_MISMATCH' })
  expect(await maintenance.migrate()).toEqual(steps)
  expect(await maintenance.migrate()).toEqual([])
  await engine.open()
  await engine.close()
})
