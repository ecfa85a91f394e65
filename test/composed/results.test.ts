// Large results in a store of their own, behind any engine: found by everybody, and never silently absent.
import { Keyv } from 'keyv'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Factory } from '../../src/conformance/index.ts'
import { conformance } from '../../src/conformance/index.ts'
import { newKey, newRun } from '../../src/conformance/scene.ts'
import { Offload } from '../../src/drivers/offload.ts'
import { MemoryEngine, MemoryStore } from '../../src/engines/memory/index.ts'
import { DeferQ, task, Worker } from '../../src/index.ts'

for (const above of [0, 64, 1_000]) {
  const factory: Factory = {
    name: `memory, results above ${above} bytes elsewhere`,
    async create() {
      let now = 1_750_000_000_000
      const store = new MemoryStore(() => now)
      const keyv = new Keyv()
      return {
        unitMs: 1_000,
        connect: async () => new Offload(new MemoryEngine({ store }), { store: keyv, above }),
        advance: async (ms) => {
          now += ms
        },
        close: async () => {},
      }
    },
  }
  for (const { name, run } of conformance(factory)) test(name, run)
}

const LARGE = 'x'.repeat(2_000)
const big = task('big', { resultTtl: '1h', run: async ({ text = LARGE }: { text?: string }) => ({ text }) })

interface Scene {
  deferq: DeferQ<[typeof big]>
  plain: DeferQ<[typeof big]>
  map: Map<string, string>
}

/** One deferq with results apart and a worker, and one that shares its engine and lacks the option. */
function scene(): Scene {
  const store = new MemoryStore()
  const map = new Map<string, string>()
  const results = { store: new Keyv({ store: map }), above: '1kb' }
  const deferq = new DeferQ({ engine: new MemoryEngine({ store }), tasks: [big], results })
  const plain = new DeferQ({ engine: new MemoryEngine({ store }), tasks: [big] })
  const worker = new Worker(deferq)
  void worker.run()
  onTestFinished(async () => {
    await worker.stop()
    await deferq.close()
    await plain.close()
  })
  return { deferq, plain, map }
}

test('a large result lies in the store with a time to live, a small one with its run; all read the same', async () => {
  const { deferq, map } = scene()
  expect(await deferq.run('big', {})).toEqual({ text: LARGE })
  expect(map.size).toBe(1)
  const [stored] = map.values()
  const { value, expires } = JSON.parse(stored as string)
  expect(value).toContain(LARGE)
  expect(expires).toBeGreaterThan(Date.now() + 2 * 3_600_000)
  const hit = await deferq.dispatch('big', {})
  expect(hit).toMatchObject({ outcome: 'hit', result: { text: LARGE } })
  expect(await deferq.getResult(hit.taskId)).toEqual({ text: LARGE })
  expect((await deferq.list({ status: 'completed' })).receipts[0]).toMatchObject({ result: { text: LARGE } })
  expect(await deferq.run('big', { text: 'short' })).toEqual({ text: 'short' })
  expect(map.size).toBe(1)
})

test('a large result of a throttled run is kept for its whole window', async () => {
  const map = new Map<string, string>()
  const engine = new Offload(new MemoryEngine(), { store: new Keyv({ store: map }), above: 64 })
  const hour = 3_600_000
  const policy = {
    maxAttempts: 1,
    resultTtlMs: 0,
    staleTtlMs: 0,
    failureTtlMs: 0,
    retentionMs: 0,
    everyMs: hour,
  }
  const draft = { name: 'big', queue: 'default', params: '{}', priority: 0, delayMs: 0, policy }
  const key = newKey()
  await engine.admit([{ ...draft, id: key + newRun() }])
  const { claimed } = await engine.claim({ names: ['big'], limit: 1, leaseMs: 30_000 })
  await engine.settle(
    claimed.map(({ entry: { id }, token }) => ({ id, token, kind: 'completed', result: LARGE })),
  )
  const [stored] = map.values()
  expect(JSON.parse(stored as string).expires).toBeGreaterThan(Date.now() + hour)
  const [again] = await engine.admit([{ ...draft, id: key + newRun() }])
  expect(again).toMatchObject({ outcome: 'hit', entry: { result: LARGE } })
  await engine.close()
})

test('a value that has gone is a miss for a dispatch, and TASK_NOT_FOUND for its id; never undefined', async () => {
  const { deferq, map } = scene()
  const { taskId } = await deferq.dispatch('big', {})
  await deferq.result(taskId)
  map.clear()
  await expect(deferq.getResult(taskId)).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' })
  await expect(deferq.result(taskId)).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' })
  expect((await deferq.list()).receipts).toEqual([])
  const anew = await deferq.dispatch('big', {})
  expect(anew.outcome).toBe('created')
  expect(await deferq.result(anew.taskId)).toEqual({ text: LARGE })
  expect((await deferq.dispatch('big', {})).outcome).toBe('hit')
})

test('a process without the option says so', async () => {
  const { deferq, plain } = scene()
  const { taskId } = await deferq.dispatch('big', {})
  await deferq.result(taskId)
  await expect(plain.getResult(taskId)).rejects.toMatchObject({
    code: 'MALFORMED_VALUE',
    message: expect.stringMatching(/lacks the option results/),
  })
})

test('a refused result leaves nothing behind, and takes nothing away from the accepted one', async () => {
  const store = new MemoryStore()
  const map = new Map<string, string>()
  const engine = new Offload(new MemoryEngine({ store }), { store: new Keyv({ store: map }), above: 10 })
  onTestFinished(() => engine.close())
  const id = `${'a'.repeat(64)}${'b'.repeat(24)}`
  const policy = { maxAttempts: 3, resultTtlMs: 60_000, staleTtlMs: 0, failureTtlMs: 0, retentionMs: 60_000 }
  await engine.admit([{ id, name: 'n', queue: 'q', params: '{}', priority: 0, delayMs: 0, policy }])
  const claim = async (leaseMs: number) =>
    (await engine.claim({ names: ['n'], limit: 1, leaseMs })).claimed[0]?.token as string
  const late = await claim(1)
  await vi.waitFor(async () => expect((await engine.sweep(10)).requeued).toEqual([id]))
  const token = await claim(60_000)
  const completed = { id, kind: 'completed', result: JSON.stringify(LARGE) } as const
  expect((await engine.settle([{ ...completed, token }])).answers).toEqual(['settled'])
  expect((await engine.settle([{ ...completed, token: late }])).answers).toEqual(['lost'])
  expect(map.size).toBe(1)
  expect((await engine.read([id]))[0]?.result).toBe(completed.result)
})

test('values that have expired are cleared from a store that does not do so by itself', async () => {
  vi.useFakeTimers({ toFake: ['Date', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const map = new Map<string, string>()
  const engine = new Offload(new MemoryEngine(), { store: new Keyv({ store: map }), above: 10 })
  onTestFinished(() => engine.close())
  const id = `${'a'.repeat(64)}${'b'.repeat(24)}`
  const policy = { maxAttempts: 3, resultTtlMs: 60_000, staleTtlMs: 0, failureTtlMs: 0, retentionMs: 60_000 }
  await engine.admit([{ id, name: 'n', queue: 'q', params: '{}', priority: 0, delayMs: 0, policy }])
  const { claimed } = await engine.claim({ names: ['n'], limit: 1, leaseMs: 1_000 })
  await engine.settle(
    claimed.map(({ token }) => ({ id, token, kind: 'completed', result: JSON.stringify(LARGE) }) as const),
  )
  map.set('keyv:foreign', JSON.stringify({ value: 'x', expires: 1 }))
  vi.advanceTimersByTime(610_000)
  await engine.sweep(10)
  expect(map.size).toBe(2)
  vi.advanceTimersByTime(1_000_000)
  await engine.sweep(10)
  expect([...map.keys()]).toEqual(['keyv:foreign'])
})

test('malformed options are refused', () => {
  const store = new Keyv()
  for (const results of [
    { store, above: 'large' },
    { store, above: -1 },
    { store: {} },
    { store, size: 1 },
  ]) {
    expect(() => new DeferQ({ results: results as never })).toThrow(/results/)
  }
})
