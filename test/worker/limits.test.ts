// How much a worker takes and when it ends: concurrency, queues, names, maxJobs, maxMemory, maxRuntime, stopWhenEmpty.
import { expect, test } from 'vitest'
import { task, Worker } from '../../src/index.ts'
import type { Place } from '../facade/places.ts'
import { eventually, everywhere, gate, listening, memory, working, workOff } from '../facade/places.ts'

/** A task that keeps count of how many of it run at a time. */
function counted() {
  const state = { running: 0, most: 0, total: 0 }
  const count = task('count', {
    run: async (_: number) => {
      state.total++
      state.most = Math.max(state.most, ++state.running)
      await new Promise((resolve) => setTimeout(resolve, 10))
      state.running--
    },
  })
  return { state, count }
}

const many = (name: string, length: number) =>
  Array.from({ length }, (_, params) => ({ name, params }) as never)

everywhere('never more at a time than its concurrency, and as many as that', async (place) => {
  const { state, count } = counted()
  const deferq = place.deferq({ tasks: [count] })
  await deferq.dispatchMany(many('count', 60))
  const summary = await workOff(deferq, { concurrency: 5 })
  expect(summary).toMatchObject({ reason: 'empty', claimed: 60, completed: 60 })
  expect(state).toEqual({ running: 0, most: 5, total: 60 })
})

test('also when events throw, leases are lost and attempts time out', async () => {
  const { state, count } = counted()
  const deferq = memory().deferq({
    tasks: [
      count,
      task('hangs', { timeout: 20, retries: 1, backoff: 5, run: (_: number) => new Promise(() => {}) }),
    ],
  })
  await deferq.dispatchMany([...many('count', 40), ...many('hangs', 10)])
  const worker = working(deferq, { concurrency: 4, logger: listening().logger })
  let most = 0
  let begun = 0
  for (const event of ['started', 'completed', 'retried', 'failed'] as const) {
    worker.on(event, () => {
      if (event === 'started') most = Math.max(most, ++begun)
      else begun--
      throw new Error('a listener')
    })
  }
  await eventually('all are through', async () => {
    const { completed = 0, failed = 0 } = (await deferq.stats()).totals
    return completed === 40 && failed === 10
  })
  expect(state.most).toBeLessThanOrEqual(4)
  // A task that is told of has been settled, so that another may have begun a turn before it.
  expect(most).toBeLessThanOrEqual(8)
})

everywhere('only from its queues, and only its names', async (place) => {
  const ran: string[] = []
  const of = (name: string) => task(name, { run: (params: string) => void ran.push(`${name} ${params}`) })
  const deferq = place.deferq({ tasks: [of('a'), of('b'), task('declared', {})] })
  await deferq.dispatchMany(
    ['a', 'b'].flatMap((name) =>
      ['x', 'y', 'z'].map((queue) => ({ name, params: queue, options: { queue } })),
    ) as never,
  )
  await workOff(deferq, { queues: ['x', 'y'], names: ['a'] })
  expect(ran.sort()).toEqual(['a x', 'a y'])
  await workOff(deferq, { queues: ['z'] })
  expect(ran.splice(2).sort()).toEqual(['a z', 'b z'])
  await workOff(deferq)
  expect(ran.splice(2).sort()).toEqual(['b x', 'b y'])
})

everywhere('in order of priority, then of due time', async (place) => {
  const ran: number[] = []
  const deferq = place.deferq({ tasks: [task('x', { run: (n: number) => void ran.push(n) })] })
  for (const [n, priority] of [0, 50, -3, 50, 100, -100].entries())
    await deferq.dispatch('x', n, { priority })
  await workOff(deferq, { concurrency: 1 })
  expect(ran).toEqual([4, 1, 3, 0, 2, 5])
})

test('maxJobs: so many and not one more, failed ones and retries included', async () => {
  const place = memory()
  let runs = 0
  const flaky = task('flaky', {
    retries: 5,
    backoff: 0,
    run: (n: number) => {
      runs++
      if (n % 2 === 0) throw new Error('even')
    },
  })
  const deferq = place.deferq({ tasks: [flaky], logger: listening().logger })
  await deferq.dispatchMany(many('flaky', 30))
  for (const [maxJobs, concurrency] of [
    [1, 10],
    [7, 3],
    [4, 4],
  ] as const) {
    runs = 0
    const summary = await new Worker(deferq, { maxJobs, concurrency }).run()
    expect(summary).toMatchObject({ reason: 'maxJobs', claimed: maxJobs })
    expect(runs).toBe(maxJobs)
    expect(summary.completed + summary.retried).toBe(maxJobs)
  }
})

test('maxMemory: ends between tasks, after at least one', async () => {
  const deferq = memory().deferq({ tasks: [task('x', { run: (n: number) => n })] })
  await deferq.dispatchMany(many('x', 50))
  const { logger, said } = listening()
  const summary = await new Worker(deferq, { maxMemory: 1, concurrency: 1, logger }).run()
  expect(summary.reason).toBe('maxMemory')
  expect(summary.claimed).toBeGreaterThan(0)
  expect(summary.claimed).toBeLessThan(50)
  expect(summary.completed).toBe(summary.claimed)
  expect(said(/maxMemory/)).toHaveLength(1)
  expect((await workOff(deferq, { maxMemory: 100_000 })).completed).toBe(50 - summary.completed)
})

test('maxRuntime: ends after it, and lets what runs end', async () => {
  const go = gate()
  const deferq = memory().deferq({ tasks: [task('x', { run: () => go.opened })] })
  const { taskId } = await deferq.dispatch('x', undefined)
  const worker = new Worker(deferq, { maxRuntime: 30, sleep: 5 })
  const ran = worker.run()
  await eventually('it runs', async () => (await deferq.getStatus(taskId)).status === 'running')
  await new Promise((resolve) => setTimeout(resolve, 60))
  go.open()
  expect(await ran).toMatchObject({ reason: 'maxRuntime', completed: 1 })
})

test('stopWhenEmpty: at once when there is nothing; what is due later is left', async () => {
  const deferq = memory().deferq({ tasks: [task('x', { run: (n: number) => n })] })
  expect(await workOff(deferq)).toEqual({
    reason: 'empty',
    claimed: 0,
    completed: 0,
    failed: 0,
    cancelled: 0,
    retried: 0,
    released: 0,
    lost: 0,
  })
  await deferq.dispatch('x', 1)
  await deferq.dispatch('x', 2, { delay: '1h' })
  expect(await workOff(deferq)).toMatchObject({ reason: 'empty', completed: 1 })
})

const latency = async (place: Place, options: object): Promise<number> => {
  const deferq = place.deferq({ tasks: [task('x', { run: (n: number) => n })] })
  working(deferq, { sleep: '60s', ...options })
  await deferq.run('x', -1)
  const times: number[] = []
  for (let n = 0; n < 9; n++) {
    const from = performance.now()
    await deferq.run('x', n)
    times.push(performance.now() - from)
  }
  return times.sort((a, b) => a - b)[4] as number
}

everywhere('an idle worker is woken, however long its sleep', async (place) => {
  expect(await latency(place, {})).toBeLessThan(500)
})

everywhere('what is delayed is run when it is due, not a sleep later', async (place) => {
  const deferq = place.deferq({ tasks: [task('x', { run: () => Date.now() })] })
  working(deferq, { sleep: '60s' })
  await deferq.run('x', undefined, { idempotencyKey: 'warm' })
  const asked = Date.now()
  const ran = await deferq.run('x', undefined, { delay: 300 })
  expect(ran - asked).toBeGreaterThanOrEqual(290)
  expect(ran - asked).toBeLessThan(5_000)
})

everywhere('names with no handler are left for others, and reported once', async (place) => {
  const asking = place.deferq()
  for (const n of [1, 2]) await asking.dispatch('elsewhere', n)
  await asking.dispatch('elsewhere', 3, { queue: 'other' })
  const { logger, said } = listening()
  const deferq = place.deferq({ tasks: [task('x', { run: () => 1 })], logger })
  working(deferq, { sleep: 10 })
  await eventually('it is reported', () => said(/no handler/).length > 0)
  await deferq.run('x', undefined)
  expect(said(/no handler/)).toHaveLength(1)
  expect(said(/no handler/)[0]).toMatchObject({ level: 'warn', details: { name: 'elsewhere' } })
  const { lanes } = await asking.stats()
  expect(lanes.reduce((sum, { pending }) => sum + pending, 0)).toBe(3)
  const elsewhere = place.deferq({ tasks: [task('elsewhere', { run: (n: number) => n })] })
  expect((await workOff(elsewhere)).completed).toBe(3)
})
