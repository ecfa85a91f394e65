// Maintenance of the memory engine: each contradiction is found, repaired once, and gone.
import { expect, test } from 'vitest'
import { newKey, newRun } from '../../src/conformance/scene.ts'
import type { Draft } from '../../src/contract/engine.ts'
import { MemoryEngine, MemoryStore } from '../../src/engines/memory/index.ts'
import type { MemoryLedger } from '../../src/engines/memory/ledger.ts'
import type { Run } from '../../src/engines/memory/runs.ts'

const policy = { maxAttempts: 2, resultTtlMs: 60_000, staleTtlMs: 0, failureTtlMs: 0, retentionMs: 60_000 }
const WANT = { names: ['job'], limit: 1, leaseMs: 60_000 }

const draftOf = (): Draft => ({
  id: newKey() + newRun(),
  name: 'job',
  queue: 'default',
  params: '{}',
  priority: 0,
  delayMs: 0,
  policy,
})

/** Admits one run, damages the store, and answers after one round of scan and repair. */
async function repaired(running: boolean, damage: (ledger: MemoryLedger, run: Run) => void) {
  const store = new MemoryStore()
  const engine = new MemoryEngine({ store })
  const maintenance = await engine.maintenance()
  const draft = draftOf()
  await engine.admit([draft])
  if (running) await engine.claim(WANT)
  expect((await maintenance.scan(10)).problems).toEqual([])
  store.step((ledger) => damage(ledger, ledger.runs.get(draft.id) as Run))
  const { problems } = await maintenance.scan(10)
  expect(await maintenance.repair(problems)).toEqual(problems.map(() => true))
  expect((await maintenance.scan(10)).problems).toEqual([])
  expect(await maintenance.repair(problems)).toEqual(problems.map(() => false))
  return { engine, id: draft.id, kinds: problems.map(({ kind }) => kind) }
}

test('a pending run without a ticket is found, and claimed after the repair', async () => {
  const { engine, id, kinds } = await repaired(false, (_, run) => run.ticket++)
  expect(kinds).toEqual(['no-ticket'])
  expect((await engine.claim(WANT)).claimed.map(({ entry }) => entry.id)).toEqual([id])
})

test('a running run without a lease is found, and swept after the repair', async () => {
  const { engine, id, kinds } = await repaired(true, (ledger, run) => ledger.running.delete(run.id))
  expect(kinds).toEqual(['no-lease'])
  expect((await engine.sweep(10)).requeued).toEqual([id])
})

test('a lease of a run that does not run is removed', async () => {
  const { kinds } = await repaired(false, (ledger, run) => ledger.running.set(run.id, run))
  expect(kinds).toEqual(['stray-lease'])
})

test('a counter that differs from the runs is set', async () => {
  const { engine, kinds } = await repaired(false, (ledger, run) => ledger.lanes.add(run, 3, 1))
  expect(kinds).toEqual(['counter'])
  expect((await engine.count()).lanes).toEqual([{ queue: 'default', name: 'job', pending: 1, running: 0 }])
})

test('a slot that names a run which is gone is removed', async () => {
  const { engine, id, kinds } = await repaired(true, (ledger, run) => {
    ledger.lanes.add(run, 0, -1)
    ledger.running.delete(run.id)
    ledger.runs.delete(run.id)
  })
  expect(kinds).toEqual(['orphan'])
  const [verdict] = await engine.admit([{ ...draftOf(), id: id.slice(0, 64) + newRun() }])
  expect(verdict?.outcome).toBe('created')
})

test('maintenance of a closed engine is refused', async () => {
  const engine = new MemoryEngine()
  const maintenance = await engine.maintenance()
  await engine.close()
  await expect(maintenance.inspect('x')).rejects.toMatchObject({ code: 'CLOSED' })
  await expect(engine.maintenance()).rejects.toMatchObject({ code: 'CLOSED' })
})
