// Callbacks that are functions of this process: called once the run has ended, in order, a few times if they throw.
import { expect, test } from 'vitest'
import type { Receipt } from '../../src/index.ts'
import { DeferQ, task } from '../../src/index.ts'
import { breakable, eventually, everywhere, listening, memory, working } from './places.ts'

const work = task('work', {
  retries: 0,
  run: (how: string) => {
    if (how === 'bad') throw new Error('bad work')
    return how
  },
})

everywhere('a function is told the receipt; on a hit at once; on success, failure or both', async (place) => {
  const deferq = place.deferq({ tasks: [work] })
  const told: [string, Receipt][] = []
  const tell = (who: string) => (receipt: Receipt) => void told.push([who, receipt])
  const callback = [
    tell('success'),
    { run: tell('failure'), on: 'failure' },
    { run: tell('both'), on: 'both' },
    { run: tell('default') },
  ] as const
  const { taskId } = await deferq.dispatch('work', 'good', { callback })
  expect(told).toEqual([])
  working(deferq)
  await eventually('all were told', () => told.length === 3)
  expect(told.map(([who]) => who)).toEqual(['success', 'both', 'default'])
  expect(told[0]?.[1]).toMatchObject({ taskId, status: 'completed', result: 'good', name: 'work' })

  const hit = await deferq.dispatch('work', 'good', { callback: tell('hit') })
  expect(hit.outcome).toBe('hit')
  await eventually('the hit was told', () => told.length === 4)

  await deferq.dispatch('work', 'bad', { callback })
  await eventually('the failure was told', () => told.length === 6)
  expect(told.slice(4).map(([who, { status, error }]) => [who, status, error?.code])).toEqual([
    ['failure', 'failed', 'TASK_FAILED'],
    ['both', 'failed', 'TASK_FAILED'],
  ])
})

test('each duplicate’s function is called, in one tick and later, by run() as well', async () => {
  const place = memory()
  const deferq = place.deferq({ tasks: [work] })
  const told: string[] = []
  const callback = (who: string) => ({ callback: () => void told.push(who) })
  const first = deferq.run('work', 'x', callback('a'))
  await Promise.all([
    deferq.dispatch('work', 'x', callback('b')),
    deferq.dispatch('work', 'x', callback('c')),
    deferq.dispatchMany([{ name: 'work', params: 'x', options: callback('d') }]),
    place.deferq({ tasks: [work] }).dispatch('work', 'x', callback('e')),
  ])
  working(deferq)
  expect(await first).toBe('x')
  await eventually('all were told', () => told.length === 5)
  expect(told.sort()).toEqual(['a', 'b', 'c', 'd', 'e'])
})

test('one that throws is tried three times, whatever it throws, then logged; the next is called', async () => {
  const { logger, said } = listening()
  const deferq = memory().deferq({ tasks: [work], logger })
  const calls: string[] = []
  const throwing = (who: string, thrown: unknown) => () => {
    calls.push(who)
    throw thrown
  }
  const failure = new TypeError('x is not a function')
  let flaky = 0
  await deferq.dispatch('work', 'x', {
    callback: [
      throwing('error', new Error('plain')),
      throwing('type', failure),
      throwing('text', 'a text'),
      async () => {
        if (++flaky < 3) throw undefined
        calls.push('flaky')
      },
      () => void calls.push('last'),
    ],
  })
  working(deferq)
  await eventually('all are through', () => calls.includes('last'))
  expect(calls).toEqual([
    ...Array(3).fill('error'),
    ...Array(3).fill('type'),
    ...Array(3).fill('text'),
    'flaky',
    'last',
  ])
  const lines = said(/callback of 'work' failed 3 times/)
  expect(lines.map(({ level, details }) => [level, details.error])).toEqual([
    ['error', expect.objectContaining({ message: 'plain' })],
    ['error', failure],
    ['error', 'a text'],
  ])
})

test('close lets those under way finish, tells of those it gives up, and does not wait for ever', async () => {
  const { logger, said } = listening()
  const deferq = memory().deferq({ tasks: [work], logger })
  let ended = false
  const worker = working(deferq)
  const { taskId } = await deferq.dispatch('work', 'x', {
    callback: async () => {
      await new Promise((resolve) => setTimeout(resolve, 100))
      ended = true
    },
  })
  await deferq.result(taskId)
  await deferq.dispatch('work', 'later', { delay: '1h', callback: () => {} })
  await worker.stop()
  await deferq.close()
  expect(ended).toBe(true)
  expect(said(/was not called: deferq was closed first/)).toMatchObject([
    { level: 'warn', details: { name: 'work' } },
  ])
})

test('a callback may close deferq itself', async () => {
  const deferq = memory().deferq({ tasks: [work] })
  const worker = working(deferq)
  let closed = false
  await deferq.dispatch('work', 'x', {
    callback: async () => {
      await worker.stop()
      await deferq.close()
      closed = true
    },
  })
  await eventually('it is closed', () => closed)
})

test('a store that comes back while a callback waits: it is called', async () => {
  const broken = breakable()
  const deferq = new DeferQ({ engine: broken.engine, tasks: [work], logger: listening().logger })
  let told = 0
  await deferq.dispatch('work', 'x', { callback: () => void told++ })
  broken.break(['read'])
  working(deferq)
  await eventually('reads have failed', () => (broken.calls.read?.length ?? 0) >= 2)
  expect(told).toBe(0)
  broken.mend()
  await eventually('it was told', () => told === 1)
  await deferq.close()
})
