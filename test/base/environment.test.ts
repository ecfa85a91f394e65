// Moves time by hand through a dispatch, a worker and the memory engine together: hours pass in milliseconds.
import { afterEach, expect, test } from 'vitest'
import { environment } from '../../src/base/environment.ts'
import { TestEnvironment } from '../../src/conformance/index.ts'
import { MemoryEngine } from '../../src/engines/memory/index.ts'
import { DeferQ, task, Worker } from '../../src/index.ts'

const HOUR = 3_600_000
const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

let uninstall = (): void => {}
afterEach(() => uninstall())

function scene(seed = 1) {
  const time = new TestEnvironment({ seed })
  uninstall = time.install()
  const began = performance.now()
  return { time, tookMs: () => performance.now() - began }
}

test('a delay of an hour, a retry after a minute and a result of two hours pass in moments', async () => {
  const { time, tookMs } = scene()
  const attempts: number[] = []
  const job = task('job', {
    retries: 1,
    backoff: '1m',
    resultTtl: '2h',
    run: (_: unknown, { attempt }) => {
      attempts.push(environment.now())
      if (attempt === 1) throw new Error('once more')
      return 'done'
    },
  })
  const deferq = new DeferQ({ tasks: [job], engine: new MemoryEngine(), logger: SILENT })
  const worker = new Worker(deferq, { sleep: '1s' })
  const ran = worker.run()
  const begun = environment.now()
  const { taskId } = await deferq.dispatch('job', {}, { delay: '1h' })
  await time.advance(HOUR - 1_000)
  expect(attempts).toEqual([])
  await time.advance(2_000)
  expect(attempts.map((at) => Math.floor((at - begun) / 1_000))).toEqual([3_600])
  const result = deferq.result(taskId, { timeout: '5m' })
  await time.advance(62_000)
  expect(await result).toBe('done')
  expect(attempts).toHaveLength(2)
  expect((attempts[1] as number) - (attempts[0] as number)).toBeGreaterThanOrEqual(60_000)
  expect((await deferq.dispatch('job', {})).outcome).toBe('hit')
  await time.advance(2 * HOUR)
  expect((await deferq.dispatch('job', {})).outcome).toBe('created')
  const stopped = worker.stop()
  await time.advance(60_000)
  await stopped
  await ran
  await deferq.close()
  expect(tookMs()).toBeLessThan(15_000)
})

test('a heartbeat keeps the lease of a run that takes hours, and a time-out ends the next one', async () => {
  const { time } = scene()
  let finish = (): void => {}
  const job = task('long', {
    retries: 0,
    timeout: '3h',
    run: () => new Promise<void>((resolve) => (finish = resolve)),
  })
  const deferq = new DeferQ({ tasks: [job], engine: new MemoryEngine(), logger: SILENT })
  const worker = new Worker(deferq, { sleep: '1s', lease: '30s' })
  const ran = worker.run()
  const first = await deferq.dispatch('long', 1)
  await time.advance(2 * HOUR)
  expect((await deferq.getStatus(first.taskId)).status).toBe('running')
  expect((await deferq.getStatus(first.taskId)).attempt).toBe(1)
  finish()
  await time.advance(1_000)
  expect((await deferq.getStatus(first.taskId)).status).toBe('completed')
  const second = await deferq.dispatch('long', 2)
  await time.advance(3 * HOUR + 5_000)
  const ended = await deferq.getStatus(second.taskId)
  expect(ended.status).toBe('failed')
  expect(ended.error?.message).toMatch(/10800000 ms|3h|time/)
  const stopped = worker.stop()
  await time.advance(60_000)
  await stopped
  await ran
  await deferq.close()
})

test('a wait ends at its time-out, and the same seed gives the same ids', async () => {
  const ids = []
  for (let round = 0; round < 2; round++) {
    const { time } = scene(7)
    const deferq = new DeferQ({ engine: new MemoryEngine(), logger: SILENT })
    const { taskId } = await deferq.dispatch('nobody', 1)
    ids.push(taskId)
    const wait = expect(deferq.result(taskId, { timeout: '10m' })).rejects.toMatchObject({
      code: 'WAIT_TIMEOUT',
    })
    await time.advance(600_000)
    await wait
    await deferq.close()
    expect(time.timers).toBe(0)
    uninstall()
  }
  expect(ids[0]).toBe(ids[1])
})
