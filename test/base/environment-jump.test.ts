// Lets the wall clock jump apart from the monotonic one: leases, delays and TTLs keep their length, runAt its moment.
import { afterEach, expect, test } from 'vitest'
import { environment } from '../../src/base/environment.ts'
import { TestEnvironment } from '../../src/conformance/index.ts'
import { MemoryEngine } from '../../src/engines/memory/index.ts'
import { DeferQ, task, Worker } from '../../src/index.ts'

const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
let uninstall = (): void => {}
afterEach(() => uninstall())

for (const jump of [60_000, -3_600_000, 86_400_000]) {
  test(`jump ${jump}: a running task is not started again, a delay and a TTL keep their length`, async () => {
    const time = new TestEnvironment()
    uninstall = time.install()
    let starts = 0
    let finish = (): void => {}
    const long = task('long', {
      retries: 3,
      timeout: '24h',
      run: () => {
        starts++
        return new Promise<void>((r) => (finish = r))
      },
    })
    const quick = task('quick', { resultTtl: '10m', run: () => 'ok' })
    const deferq = new DeferQ({ tasks: [long, quick], engine: new MemoryEngine(), logger: SILENT })
    const worker = new Worker(deferq, { sleep: '1s', lease: '30s', concurrency: 4 })
    const ran = worker.run()
    await deferq.dispatch('long', 1)
    await time.advance(5_000)
    expect(starts).toBe(1)
    const began = time.monotonic()
    const { taskId } = await deferq.dispatch('quick', 1, { delay: '2m' })
    time.jump(jump)
    await time.advance(100_000)
    expect(starts).toBe(1)
    expect((await deferq.getStatus(taskId)).status).toBe('pending')
    await time.advance(25_000)
    expect((await deferq.getStatus(taskId)).status).toBe('completed')
    expect(time.monotonic() - began).toBe(125_000)
    expect((await deferq.dispatch('quick', 1)).outcome).toBe('hit')
    time.jump(jump)
    expect((await deferq.dispatch('quick', 1)).outcome).toBe('hit')
    await time.advance(11 * 60_000)
    expect((await deferq.dispatch('quick', 1)).outcome).toBe('created')
    expect(starts).toBe(1)
    finish()
    const stopped = worker.stop()
    await time.advance(60_000)
    await stopped
    await ran
    await deferq.close()
    expect(time.timers).toBe(0)
  })
}
test('runAt keeps its wall moment over a jump', async () => {
  const time = new TestEnvironment()
  uninstall = time.install()
  let at = 0
  const job = task('job', {
    run: () => {
      at = environment.now()
    },
  })
  const deferq = new DeferQ({ tasks: [job], engine: new MemoryEngine(), logger: SILENT })
  const worker = new Worker(deferq, { sleep: '1s' })
  const ran = worker.run()
  const due = environment.now() + 3_600_000
  await deferq.dispatch('job', 1, { runAt: new Date(due) })
  time.jump(1_800_000)
  await time.advance(1_790_000)
  expect(at).toBe(0)
  await time.advance(15_000)
  expect(at).toBeGreaterThanOrEqual(due)
  expect(at).toBeLessThan(due + 5_000)
  const stopped = worker.stop()
  await time.advance(60_000)
  await stopped
  await ran
  await deferq.close()
})
test('the same seed gives the same order of everything, two environments at once', async () => {
  const a = new TestEnvironment({ seed: 3 }),
    b = new TestEnvironment({ seed: 3 })
  expect([a.random(), a.randomUUID(), a.randomBytes(4)]).toEqual([
    b.random(),
    b.randomUUID(),
    b.randomBytes(4),
  ])
  expect(a.randomUUID()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  const order: string[] = []
  a.setTimeout(() => {
    order.push('b')
    a.setTimeout(() => order.push('c'), 5)
  }, 10)
  a.setTimeout(() => order.push('a'), 10 - 1)
  const i = a.setInterval(() => order.push('i'), 20)
  await a.advance(40)
  a.clearInterval(i)
  expect(order).toEqual(['a', 'b', 'c', 'i', 'i'])
})
