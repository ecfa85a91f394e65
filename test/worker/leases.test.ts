// Leases: kept by heartbeats, lost to others, cancelled from outside, recovered by sweeps; a late outcome is refused.
import { expect, test } from 'vitest'
import type { Engine } from '../../src/contract/engine.ts'
import { MemoryEngine, MemoryStore } from '../../src/engines/memory/index.ts'
import { DeferQ, task } from '../../src/index.ts'
import {
  breakable,
  eventually,
  everywhere,
  failing,
  gate,
  listening,
  SILENT,
  working,
} from '../facade/places.ts'

everywhere('heartbeats keep a task that takes many times its lease', async (place) => {
  let runs = 0
  const long = task('long', {
    run: async () => {
      runs++
      await new Promise((resolve) => setTimeout(resolve, 1_500))
      return runs
    },
  })
  const [first, second] = [place.deferq({ tasks: [long] }), place.deferq({ tasks: [long] })]
  const options = { lease: 450, sweep: 50 }
  const workers = [working(first, options), working(second, options)]
  expect(await first.run('long', undefined)).toBe(1)
  const ends = await Promise.all(workers.map((worker) => worker.stop()))
  expect(ends.reduce((sum, end) => sum + (end?.completed ?? 0), 0)).toBe(1)
  expect(ends.reduce((sum, end) => sum + (end?.lost ?? 0), 0)).toBe(0)
  expect((await first.stats()).totals.leasesLost ?? 0).toBe(0)
})

everywhere(
  'cancel aborts the signal of the attempt that runs, and its outcome counts for nothing',
  async (place) => {
    const reasons: unknown[] = []
    const go = gate()
    const long = task('long', {
      run: async (_: object, { signal }) => {
        signal.addEventListener('abort', () => reasons.push(signal.reason))
        await go.opened
        return 'too late'
      },
    })
    const deferq = place.deferq({ tasks: [long] })
    const asking = place.deferq()
    const { taskId } = await deferq.dispatch('long', {})
    const { logger, said } = listening()
    const worker = working(deferq, { lease: 3_000, logger })
    await eventually('it runs', async () => (await asking.getStatus(taskId)).status === 'running')
    const waiting = failing('TASK_CANCELLED', deferq.result(taskId))
    expect(await asking.cancel(taskId, 'enough')).toBe('cancelled')
    await eventually('the signal was aborted', () => reasons.length === 1)
    expect(reasons).toMatchObject([{ code: 'TASK_CANCELLED' }])
    await waiting
    go.open()
    const again = await asking.dispatch('long', {})
    expect(again.outcome).toBe('created')
    expect(await asking.result(again.taskId)).toBe('too late')
    expect((await asking.getStatus(taskId)).status).toBe('cancelled')
    expect(await worker.stop()).toMatchObject({ lost: 1, completed: 1 })
    expect(said(/lease of 'long' was lost/)).toEqual([])
  },
)

/** Two workers on one store; the heartbeats and outcomes of the first are lost while `cut`. */
function split(runs: (attempt: number) => unknown, wrap = (engine: Engine): Engine => engine) {
  const store = new MemoryStore()
  const cut = breakable(new MemoryEngine({ store }))
  const events: string[] = []
  const x = (who: string) =>
    task('x', {
      retries: 1,
      backoff: 0,
      run: (_: object, { attempt, signal }) => {
        signal.addEventListener('abort', () => events.push(`${who} ${signal.reason.code}`))
        events.push(`${who} runs`)
        return runs(attempt)
      },
    })
  const first = new DeferQ({ engine: wrap(cut.engine), tasks: [x('first')], logger: SILENT })
  const second = new DeferQ({ engine: new MemoryEngine({ store }), tasks: [x('second')], logger: SILENT })
  return { cut, first, second, events }
}

test('a lease that is lost: the signal is aborted, the late outcome refused, and both are counted', async () => {
  const go = gate()
  const { cut, first, second, events } = split(async (attempt) => {
    if (attempt === 1) await go.opened
    return `attempt ${attempt}`
  })
  const { taskId } = await first.dispatch('x', {})
  const stalled = working(first, { lease: 150, sweep: 3_600_000 })
  await eventually('the first runs', () => events.length === 1)
  cut.break(['extend', 'settle', 'claim'])
  await eventually('it gives up by its own clock', () => events.includes('first LEASE_LOST'))
  const other = working(second, { lease: 5_000, sweep: 20 })
  expect(await second.result(taskId)).toBe('attempt 2')
  go.open()
  cut.mend()
  expect(await second.getStatus(taskId)).toMatchObject({ attempt: 2, result: 'attempt 2' })
  expect((await second.getStatus(taskId)).history[0]?.error).toMatchObject({ code: 'LEASE_LOST' })
  expect(await stalled.stop()).toMatchObject({ lost: 1, completed: 0 })
  expect(await other.stop()).toMatchObject({ lost: 0, completed: 1 })
  expect((await second.stats()).totals.leasesLost).toBe(1)
  await Promise.all([first.close(), second.close()])
})

test('an outcome that comes after the lease was taken over is refused and counted, and overwrites nothing', async () => {
  // Its heartbeats are answered as if all were well, while its outcome hangs on the way.
  const deceived = (engine: Engine): Engine =>
    new Proxy(engine, {
      get: (target, verb) =>
        verb === 'extend' ? async (leases: unknown[]) => leases.map(() => 'held') : Reflect.get(target, verb),
    })
  const { cut, first, second, events } = split((attempt) => `attempt ${attempt}`, deceived)
  const { taskId } = await first.dispatch('x', {})
  cut.hang(['settle'])
  const stalled = working(first, { lease: 100, sweep: 3_600_000 })
  await eventually('its outcome is on the way', () => cut.calls.settle !== undefined)
  const other = working(second, { lease: 5_000, sweep: 20 })
  expect(await second.result(taskId)).toBe('attempt 2')
  cut.mend()
  expect(await stalled.stop()).toMatchObject({ lost: 1, completed: 0 })
  expect(await second.getResult(taskId)).toBe('attempt 2')
  expect((await second.stats()).totals).toMatchObject({ outcomesRefused: 1, completed: 1, leasesLost: 1 })
  expect(events).toEqual(['first runs', 'second runs'])
  await other.stop()
  await Promise.all([first.close(), second.close()])
})

test('what died with its workers every time ends as failed, and harms no other', async () => {
  const store = new MemoryStore()
  const engine = new MemoryEngine({ store })
  const { logger, said } = listening()
  const x = task('x', { run: (params: object) => params })
  const deferq = new DeferQ({ engine: new MemoryEngine({ store }), tasks: [x], logger })
  const { taskId } = await deferq.dispatch('x', {}, { retries: 1 })
  const waiting = failing('TASK_FAILED', deferq.result(taskId))
  for (const attempt of [1, 2]) {
    // A worker that claims and is never heard of again.
    await eventually(`attempt ${attempt} dies`, async () => {
      const { claimed } = await engine.claim({ names: ['x'], limit: 1, leaseMs: 1 })
      return claimed.length === 1
    })
    if (attempt === 1) {
      await eventually('it is brought back', async () => (await engine.sweep(10)).requeued.length === 1)
    }
  }
  working(deferq, { sweep: 10 })
  const error = await waiting
  expect(error.message).toMatch(/failed after 2 attempts/)
  expect(error.cause).toMatchObject({ code: 'LEASE_LOST' })
  expect(said(/died with their workers/)).toMatchObject([{ level: 'error', details: { failed: [taskId] } }])
  expect(await deferq.run('x', { other: 1 })).toEqual({ other: 1 })
  await deferq.close()
})
