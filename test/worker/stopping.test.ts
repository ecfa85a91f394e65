// How a worker stops: in peace, after its grace, at once, twice, before it began, and when deferq is closed under it.
import { expect, test } from 'vitest'
import { DeferQ, task, Worker } from '../../src/index.ts'
import {
  breakable,
  eventually,
  everywhere,
  failing,
  gate,
  listening,
  memory,
  SILENT,
  working,
} from '../facade/places.ts'

everywhere('stop takes nothing new, and lets what runs end', async (place) => {
  const go = gate()
  const x = task('x', {
    run: async (n: number, { signal }) => {
      await go.opened
      return [n, signal.aborted]
    },
  })
  const deferq = place.deferq({ tasks: [x] })
  const ids = (await deferq.dispatchMany([1, 2, 3].map((params) => ({ name: 'x', params })))).map(
    ({ taskId }) => taskId,
  )
  const worker = working(deferq, { concurrency: 2 })
  await eventually('two run', async () => (await deferq.stats()).lanes[0]?.running === 2)
  const stopped = worker.stop()
  go.open()
  expect(await stopped).toMatchObject({ reason: 'stopped', claimed: 2, completed: 2, released: 0 })
  const receipts = await Promise.all(ids.map((id) => deferq.getStatus(id)))
  expect(receipts.filter(({ status }) => status === 'pending')).toHaveLength(1)
  for (const { status, result } of receipts)
    if (status === 'completed') expect(result).toMatchObject({ 1: false })
})

everywhere('what has not ended by the end of the grace is released: no attempt is counted', async (place) => {
  const reasons: unknown[] = []
  const hangs = task('hangs', {
    retries: 0,
    run: (_: object, { signal, attempt }) => {
      if (reasons.length > 0) return `attempt ${attempt}`
      return new Promise(() => signal.addEventListener('abort', () => reasons.push(signal.reason.code)))
    },
  })
  const deferq = place.deferq({ tasks: [hangs] })
  const { taskId } = await deferq.dispatch('hangs', {})
  const worker = working(deferq, { grace: 100 })
  await eventually('it runs', async () => (await deferq.getStatus(taskId)).status === 'running')
  const from = performance.now()
  expect(await worker.stop()).toMatchObject({ reason: 'stopped', claimed: 1, released: 1, completed: 0 })
  expect(performance.now() - from).toBeGreaterThanOrEqual(90)
  expect(performance.now() - from).toBeLessThan(5_000)
  expect(reasons).toEqual(['ABORTED'])
  expect(await deferq.getStatus(taskId)).toMatchObject({ status: 'pending', attempt: 0, history: [] })
  working(deferq)
  expect(await deferq.result(taskId)).toBe('attempt 1')
})

test('abort releases at once, also after a stop that waits', async () => {
  const deferq = memory().deferq({ tasks: [task('hangs', { run: () => new Promise(() => {}) })] })
  const { taskId } = await deferq.dispatch('hangs', undefined)
  const events: string[] = []
  const worker = working(deferq, { grace: '1h' })
  for (const event of ['started', 'released', 'lost', 'failed', 'completed'] as const) {
    worker.on(event, () => void events.push(event))
  }
  await eventually('it runs', () => events.length === 1)
  const stopped = worker.stop()
  expect(await worker.abort()).toMatchObject({ reason: 'aborted', released: 1 })
  expect((await stopped)?.reason).toBe('aborted')
  expect(events).toEqual(['started', 'released'])
  expect(await deferq.getStatus(taskId)).toMatchObject({ status: 'pending', attempt: 0 })
})

test('what is claimed in the moment of an abort, or after the grace, is released as well', async () => {
  for (const end of ['abort', 'stop'] as const) {
    const broken = breakable()
    const runs: number[] = []
    const hangs = task('hangs', {
      run: (n: number) => {
        runs.push(n)
        return new Promise(() => {})
      },
    })
    const deferq = new DeferQ({ engine: broken.engine, tasks: [hangs], logger: SILENT })
    const { taskId } = await deferq.dispatch('hangs', 1)
    broken.hang(['claim'])
    const worker = working(deferq, { grace: 0 })
    await eventually('the claim is under way', () => broken.calls.claim !== undefined)
    const ended = worker[end]()
    await new Promise((resolve) => setTimeout(resolve, 50))
    broken.mend()
    expect(await ended).toMatchObject({ claimed: 1, released: 1 })
    expect(await deferq.getStatus(taskId)).toMatchObject({ status: 'pending', attempt: 0 })
    await deferq.close()
  }
})

test('stop, abort and dispose may be repeated, and may come before run', async () => {
  const deferq = memory().deferq({ tasks: [task('x', { run: () => 1 })] })
  await deferq.dispatch('x', undefined)
  const worker = new Worker(deferq)
  expect(worker.run()).toBe(worker.run())
  await deferq.run('x', undefined)
  const ends = await Promise.all([worker.stop(), worker.stop(), worker[Symbol.asyncDispose]()])
  expect(ends[0]).toBe(ends[1])
  expect(await worker.run()).toBe(ends[0])
  expect((await worker.stop())?.reason).toBe('stopped')

  const never = new Worker(deferq)
  expect(await never.stop()).toBeUndefined()
  expect(await never.run()).toMatchObject({ reason: 'stopped', claimed: 0 })
})

test('deferq closed under a worker: the worker ends, aborts what runs, and says so once', async () => {
  const { logger, said } = listening()
  const reasons: unknown[] = []
  const place = memory()
  const hangs = task('hangs', {
    run: (_: object, { signal }) =>
      new Promise(() => signal.addEventListener('abort', () => reasons.push(signal.reason.code))),
  })
  const deferq = place.deferq({ tasks: [hangs, task('quick', { run: () => 1 })], logger })
  const { taskId } = await deferq.dispatch('hangs', {})
  const worker = new Worker(deferq, { sleep: 20, lease: 300, logger })
  const ran = worker.run()
  await eventually('it runs', async () => (await deferq.getStatus(taskId)).status === 'running')
  await deferq.close()
  expect(await ran).toMatchObject({ reason: 'aborted', claimed: 1, lost: 1 })
  expect(reasons).toEqual(['LEASE_LOST'])
  expect(said(/deferq was closed/)).toHaveLength(1)
  await worker.stop()
  await failing('CLOSED', new Worker(deferq).run())
  expect((await place.deferq().getStatus(taskId)).status).toBe('running')
})

test('a store that stays away does not keep a worker that was stopped for ever', async () => {
  const broken = breakable()
  const { logger, said } = listening()
  const go = gate()
  const x = task('x', { run: () => go.opened })
  const deferq = new DeferQ({ engine: broken.engine, tasks: [x], logger })
  const { taskId } = await deferq.dispatch('x', undefined)
  const worker = new Worker(deferq, { sleep: 10, lease: 400, grace: 50 })
  const ran = worker.run()
  await eventually('it runs', async () => (await deferq.getStatus(taskId)).status === 'running')
  broken.break(['settle', 'claim', 'extend', 'sweep', 'count'])
  go.open()
  await eventually('settling is tried', () => (broken.calls.settle?.length ?? 0) > 1)
  const from = performance.now()
  await worker.stop()
  expect((await ran).completed).toBe(0)
  expect(performance.now() - from).toBeLessThan(8_000)
  expect(said(/could not be settled/)).toHaveLength(1)
  await deferq.close()
})
