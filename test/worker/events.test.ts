// A worker's events and log lines: each task's life is told in order, and a listener or logger that throws harms nothing.
import { expect, test } from 'vitest'
import { NoRetryError, task } from '../../src/index.ts'
import type { WorkerEvents } from '../../src/worker/worker.ts'
import { eventually, listening, memory, SILENT, working } from '../facade/places.ts'

const EVENTS = [
  'started',
  'completed',
  'failed',
  'retried',
  'released',
  'lost',
  'trouble',
] as const satisfies (keyof WorkerEvents)[]

function tasks() {
  return [
    task('good', { run: (n: number) => n }),
    task('flaky', {
      backoff: 5,
      run: (n: number, { attempt }) => {
        if (attempt < 3) throw new Error(`no. ${attempt}`)
        return n
      },
    }),
    task('bad', {
      run: (_: number) => {
        throw new NoRetryError('bad')
      },
    }),
  ] as const
}

test('what becomes of each attempt is told and logged', async () => {
  const { logger, said } = listening()
  const deferq = memory().deferq({ tasks: tasks(), logger })
  const worker = working(deferq)
  const told: unknown[][] = []
  for (const event of EVENTS) worker.on(event, (...[about]: unknown[]) => void told.push([event, about]))
  const { taskId } = await deferq.dispatch('flaky', 1)
  await deferq.result(taskId)
  await deferq.run('bad', 1).catch(() => {})
  await eventually('all was told', () => told.length === 8)
  const about = { taskId, name: 'flaky' }
  expect(told.slice(0, 6)).toEqual([
    ['started', { ...about, attempt: 1 }],
    ['retried', { ...about, attempt: 1, error: new Error('no. 1'), delayMs: 5 }],
    ['started', { ...about, attempt: 2 }],
    ['retried', { ...about, attempt: 2, error: new Error('no. 2'), delayMs: 5 }],
    ['started', { ...about, attempt: 3 }],
    ['completed', { ...about, attempt: 3 }],
  ])
  expect(told[7]).toMatchObject(['failed', { name: 'bad', attempt: 1, error: { name: 'NoRetryError' } }])
  expect(said(/'flaky' failed and is tried again/)).toHaveLength(2)
  expect(said(/'bad' failed for good at attempt 1/)).toMatchObject([
    { level: 'error', details: { name: 'bad' } },
  ])
})

for (const how of ['throws', 'rejects'] as const) {
  test(`a listener that ${how} neither ends the worker nor loses a task`, async () => {
    const { logger, said } = listening()
    const deferq = memory().deferq({ tasks: tasks(), logger })
    const worker = working(deferq, { concurrency: 3, lease: 300, sweep: 20 })
    for (const event of EVENTS) {
      worker.on(event, () => {
        if (how === 'throws') throw new Error('a listener’s')
        return Promise.reject(new Error('a listener’s')) as never
      })
    }
    const runs = Array.from({ length: 30 }, (_, n) => [
      deferq.run('good', n),
      deferq.run('flaky', n),
      deferq.run('bad', n).catch((error) => error.code),
    ]).flat()
    const ends = await Promise.all(runs)
    expect(ends).toEqual(Array.from({ length: 30 }, (_, n) => [n, n, 'TASK_FAILED']).flat())
    const { totals } = await deferq.stats()
    expect(totals).toMatchObject({ completed: 60, failed: 30, retried: 60 })
    expect(totals.outcomesRefused ?? totals.leasesLost).toBeUndefined()
    expect(await worker.stop()).toMatchObject({
      claimed: 150,
      completed: 60,
      failed: 30,
      retried: 60,
      lost: 0,
    })
    await eventually(
      'that is logged',
      () => said(/a listener of the worker's 'started' failed/).length === 150,
    )
  })
}

test('a logger that throws does no harm either', async () => {
  const full = () => {
    throw new Error('the disk is full')
  }
  const deferq = memory().deferq({
    tasks: tasks(),
    logger: { debug: full, info: full, warn: full, error: full },
  })
  const worker = working(deferq, { lease: 300, sweep: 20 })
  expect(await deferq.run('flaky', 1)).toBe(1)
  expect(await deferq.run('bad', 1).catch((error) => error.code)).toBe('TASK_FAILED')
  expect(await deferq.run('good', 1)).toBe(1)
  expect(await worker.stop()).toMatchObject({ completed: 2, failed: 1, lost: 0 })
})

test('two workers on one deferq share its work, each within its own names', async () => {
  const ran: string[] = []
  const of = (name: string) => task(name, { run: (n: number) => void ran.push(`${name} ${n}`) })
  const deferq = memory().deferq({ tasks: [of('a'), of('b')], logger: SILENT })
  const workers = [working(deferq, { names: ['a'] }), working(deferq, { names: ['b'] })]
  for (let n = 0; n < 10; n++) {
    await deferq.run('a', n)
    await deferq.run('b', n)
  }
  expect(ran).toHaveLength(20)
  const [a, b] = await Promise.all(workers.map((worker) => worker.stop()))
  expect([a?.completed, b?.completed]).toEqual([10, 10])
})
