// Callbacks by name: durable follow-ups that workers run, in order, told of the run they follow, and never dropped.
import { expect, test } from 'vitest'
import type { Ended } from '../../src/index.ts'
import { task } from '../../src/index.ts'
import type { Place } from './places.ts'
import { eventually, everywhere, failing, gate, memory, working, workOff } from './places.ts'

interface Told {
  name: string
  params: unknown
  parent: Ended | undefined
}

function scene(place: Place) {
  const told: Told[] = []
  const go = gate()
  const hearing = <const Name extends string>(name: Name) =>
    task(name, {
      run: (params: unknown, { parent }) => {
        told.push({ name, params, parent })
      },
    })
  const work = task('work', {
    retries: 0,
    run: async (how: string) => {
      if (how === 'gated') await go.opened
      if (how === 'bad') throw new RangeError('bad work')
      return { how }
    },
  })
  const failingToo = task('broken', {
    retries: 1,
    backoff: 0,
    run: (params: unknown, { parent, attempt }) => {
      told.push({ name: `broken ${attempt}`, params, parent })
      throw new Error('a broken callback')
    },
  })
  const deferq = place.deferq({
    tasks: [work, failingToo, hearing('mail'), hearing('log'), hearing('audit')],
  })
  const names = () => told.map(({ name }) => name)
  return {
    deferq,
    told,
    names,
    go,
    heard: (count: number) => eventually(`${count} told`, () => told.length >= count),
  }
}

everywhere('a callback gets its own params, and the ended run as context.parent', async (place) => {
  const { deferq, told, heard } = scene(place)
  const { taskId } = await deferq.dispatch('work', 'good', {
    callback: { name: 'mail', params: { to: 'ann' } },
  })
  const bad = await deferq.dispatch('work', 'bad', { callback: { name: 'log', on: 'failure' } })
  working(deferq)
  await heard(2)
  const mail = told.find(({ name }) => name === 'mail')
  expect(mail).toEqual({
    name: 'mail',
    params: { to: 'ann' },
    parent: { id: taskId, name: 'work', status: 'completed', result: { how: 'good' } },
  })
  const log = told.find(({ name }) => name === 'log')
  expect(log).toMatchObject({ params: {}, parent: { id: bad.taskId, name: 'work', status: 'failed' } })
  expect(log?.parent?.error).toMatchObject({ name: 'RangeError', message: 'bad work' })
})

everywhere('success, failure and both: each end is told to those that asked for it', async (place) => {
  const { deferq, names } = scene(place)
  const callback = [{ name: 'mail' }, { name: 'log', on: 'failure' }, { name: 'audit', on: 'both' }] as const
  const good = await deferq.dispatch('work', 'good', { callback })
  const worker = working(deferq)
  await eventually('the good chain is through', () => names().length === 2)
  expect(names()).toEqual(['mail', 'audit'])
  await deferq.dispatch('work', 'bad', { callback })
  await eventually('the bad chain is through', () => names().length === 4)
  expect(names().slice(2)).toEqual(['log', 'audit'])
  const waiting = await deferq.dispatch('work', 'never', { callback, delay: '1h' })
  await deferq.cancel(waiting.taskId, 'no')
  await eventually('the cancelled chain is through', () => names().length === 6)
  expect(names().slice(4)).toEqual(['log', 'audit'])
  await worker.stop()
  expect((await deferq.getStatus(good.taskId)).status).toBe('completed')
})

everywhere(
  'a chain goes in order, all are told of the same run, and one that fails does not break it',
  async (place) => {
    const { deferq, told, names, heard } = scene(place)
    const { taskId } = await deferq.dispatch('work', 'good', {
      callback: ['log', { name: 'broken', on: 'both' }, 'mail', 'audit', { name: 'log', params: 'again' }],
    })
    working(deferq, { concurrency: 10 })
    await heard(6)
    expect(names()).toEqual(['log', 'broken 1', 'broken 2', 'mail', 'audit', 'log'])
    expect(told.map(({ parent }) => [parent?.id, parent?.status])).toEqual(
      told.map(() => [taskId, 'completed']),
    )
    expect(told.at(-1)?.params).toBe('again')
  },
)

everywhere(
  'duplicates attach theirs as well, also in one tick; on a hit it is called at once',
  async (place) => {
    const { deferq, told, go, heard } = scene(place)
    const other = place.deferq()
    const options = (params: string) => ({ callback: { name: 'mail', params } })
    const [a, b, plain] = await Promise.all([
      deferq.dispatch('work', 'gated', options('a')),
      deferq.dispatch('work', 'gated', options('b')),
      deferq.dispatch('work', 'gated'),
    ])
    expect(new Set([a, b, plain].map(({ taskId }) => taskId)).size).toBe(1)
    working(deferq)
    await eventually('it runs', async () => (await deferq.getStatus(a.taskId)).status === 'running')
    expect((await other.dispatch('work', 'gated', options('c'))).outcome).toBe('joined')
    expect(told).toEqual([])
    go.open()
    await heard(3)
    expect((await other.dispatch('work', 'gated', options('d'))).outcome).toBe('hit')
    await heard(4)
    expect(told.map(({ params }) => params).sort()).toEqual(['a', 'b', 'c', 'd'])
    expect(told.every(({ parent }) => parent?.id === a.taskId && parent.status === 'completed')).toBe(true)
  },
)

everywhere('on a remembered failure it is called at once too', async (place) => {
  const { deferq, told, heard } = scene(place)
  const { taskId } = await deferq.dispatch('work', 'bad', { failureTtl: '1h' })
  await workOff(deferq)
  const callback = [{ name: 'log', on: 'failure' }, 'mail'] as const
  expect((await deferq.dispatch('work', 'bad', { callback })).outcome).toBe('negative')
  working(deferq)
  await heard(1)
  expect(told).toMatchObject([{ name: 'log', parent: { id: taskId, status: 'failed' } }])
})

test('a callback is a task as any other: validated, retried, listed, in a queue of its own', async () => {
  const deferq = memory().deferq({
    tasks: [
      task('work', { run: () => 1 }),
      task('after', { queue: 'callbacks', priority: 7, delay: '1h', resultTtl: '1h', run: () => 2 }),
    ],
  })
  for (const scope of ['a', 'b']) await deferq.dispatch('work', undefined, { scope, callback: 'after' })
  await workOff(deferq, { names: ['work'] })
  const { receipts } = await deferq.list({ name: 'after' })
  expect(receipts).toHaveLength(2)
  for (const { queue, priority, dueAt, createdAt } of receipts) {
    expect({ queue, priority, delayed: dueAt > createdAt }).toEqual({
      queue: 'callbacks',
      priority: 7,
      delayed: false,
    })
  }
  expect((await workOff(deferq)).completed).toBe(2)
})

test('an unknown or malformed callback is refused before anything is dispatched', async () => {
  const deferq = memory().deferq({ tasks: [task('work', { run: () => 1 })] })
  for (const callback of ['nobody', { name: 'nobody' }, ['work', 'nobody']]) {
    const error = await failing('UNKNOWN_TASK', deferq.dispatch('work', undefined, { callback }))
    expect(error.message).toContain("'nobody'")
  }
  await failing(
    'UNHASHABLE_PARAMS',
    deferq.dispatch('work', undefined, { callback: { name: 'work', params: () => 1 } }),
  )
  expect((await deferq.stats()).totals).toEqual({})
  expect((await memory().deferq().dispatch('x', {}, { callback: 'anything' })).outcome).toBe('created')
})
