// What can be asked about runs and done to them: status, result, cancel, invalidate, retry, list, counts, and many at once.
import { expect, test } from 'vitest'
import { task } from '../../src/index.ts'
import { eventually, everywhere, failing, gate, memory, working, workOff } from './places.ts'

everywhere('a run is pending, then running, then completed, whoever asks', async (place) => {
  const go = gate()
  const slow = task('slow', {
    run: async (_: object, { progress }) => {
      progress({ percent: 40 })
      await go.opened
      return 'done'
    },
  })
  const deferq = place.deferq({ tasks: [slow] })
  const asking = place.deferq()
  const { taskId } = await deferq.dispatch('slow', {}, { delay: 30 })
  expect(await asking.getStatus(taskId)).toMatchObject({ taskId, status: 'pending', attempt: 0 })
  const early = await failing('NOT_FINISHED', asking.getResult(taskId))
  expect(early.details).toEqual({ taskId, status: 'pending' })
  working(deferq)
  await eventually('progress is seen', async () => (await asking.getStatus(taskId)).progress !== undefined)
  expect(await asking.getStatus(taskId)).toMatchObject({
    status: 'running',
    attempt: 1,
    progress: { percent: 40 },
  })
  expect((await failing('NOT_FINISHED', asking.getResult(taskId))).details).toMatchObject({
    status: 'running',
  })
  await failing('NOT_FINISHED', asking.retry(taskId))
  go.open()
  expect(await asking.result(taskId, { timeout: '15s' })).toBe('done')
  expect(await asking.getResult(taskId)).toBe('done')
  expect(await asking.getStatus(taskId)).toMatchObject({ status: 'completed', result: 'done' })
  await failing('NOT_FINISHED', asking.retry(taskId))
  expect(await asking.cancel(taskId)).toBe('ended')
})

everywhere('cancel ends a pending run for everybody, and says so again when repeated', async (place) => {
  const deferq = place.deferq({ tasks: [task('x', { run: () => 1 })] })
  const { taskId } = await deferq.dispatch('x', {})
  expect(await deferq.cancel(taskId, 'over')).toBe('cancelled')
  expect(await deferq.cancel(taskId)).toBe('cancelled')
  const { status, error, history } = await deferq.getStatus(taskId)
  expect(status).toBe('cancelled')
  expect(error).toMatchObject({ code: 'TASK_CANCELLED', message: "The task 'x' was cancelled: over" })
  expect(history).toHaveLength(1)
  await failing('TASK_CANCELLED', deferq.getResult(taskId))
  expect(await workOff(deferq)).toMatchObject({ claimed: 0 })
})

everywhere('invalidate: by params, by name, by id, by scope; how many keys changed', async (place) => {
  const x = task('x', { run: (n: number) => n })
  const deferq = place.deferq({ tasks: [x, task('y', { run: () => 1 })] })
  const [one] = await deferq.dispatchMany([
    { name: 'x', params: 1 },
    { name: 'x', params: 2 },
    { name: 'x', params: 3 },
    { name: 'x', params: 1, options: { scope: 's' } },
    { name: 'x', params: 9, options: { idempotencyKey: 'k' } },
    { name: 'y', params: undefined },
  ])
  expect(await deferq.invalidate('x', 1)).toBe(0) // it waits still, and looks at nothing old
  await workOff(deferq)
  const outcome = async (n: number, options = {}) =>
    (await deferq.dispatch('x', n, { delay: '1h', ...options })).outcome
  expect(await deferq.invalidate('x', 1)).toBe(1)
  expect(await deferq.invalidate('x', 1)).toBe(0)
  expect(await outcome(1)).toBe('created')
  expect(await outcome(2)).toBe('hit')
  expect(await outcome(1, { scope: 's' })).toBe('hit')
  expect(await deferq.invalidate('x', 1, { scope: 's' })).toBe(1)
  expect(await outcome(1, { scope: 's' })).toBe('created')
  expect(await deferq.invalidate('x', undefined as never, { idempotencyKey: 'k' })).toBe(1)
  expect(await deferq.invalidate((await deferq.dispatch('x', 2)).taskId)).toBe(1)
  expect(await outcome(2)).toBe('created')
  expect(await deferq.invalidate('x')).toBe(1)
  expect(await outcome(3)).toBe('created')
  expect((await deferq.dispatch('y', undefined)).outcome).toBe('hit')
  expect(await deferq.getResult(one?.taskId as string)).toBe(1)
  expect(await deferq.invalidate('nothing')).toBe(0)
})

everywhere('retry runs a failed or cancelled run anew, with the params and options it had', async (place) => {
  let works = false
  const seen: unknown[] = []
  const flaky = task('flaky', {
    retries: 0,
    ignore: ['note'],
    run: (params: { id: number; note: string }) => {
      seen.push(params)
      if (!works) throw new Error('not yet')
      return 'fine'
    },
  })
  const deferq = place.deferq({ tasks: [flaky] })
  const params = { id: 1, note: 'first' }
  const first = await deferq.dispatch('flaky', params, {
    queue: 'slow',
    priority: 7,
    retries: 1,
    backoff: 0,
    timeout: '9s',
  })
  await workOff(deferq)
  await eventually('both attempts are over', async () => {
    await workOff(deferq)
    return (await deferq.getStatus(first.taskId)).status === 'failed'
  })
  works = true
  const again = await deferq.retry(first.taskId)
  expect(again).toMatchObject({
    outcome: 'created',
    queue: 'slow',
    priority: 7,
    fingerprint: first.fingerprint,
  })
  expect(again.taskId).not.toBe(first.taskId)
  expect(await deferq.retry(first.taskId)).toMatchObject({ outcome: 'joined', taskId: again.taskId })
  await workOff(deferq)
  expect(await deferq.getResult(again.taskId)).toBe('fine')
  expect(seen).toEqual([params, params, params])
  expect((await deferq.getStatus(first.taskId)).status).toBe('failed')
  expect(await deferq.dispatch('flaky', params)).toMatchObject({ outcome: 'hit', taskId: again.taskId })

  const later = await deferq.dispatch('flaky', { id: 2, note: '' }, { delay: '1h' })
  await deferq.cancel(later.taskId)
  const revived = await deferq.retry(later.taskId)
  await workOff(deferq)
  expect(await deferq.getResult(revived.taskId)).toBe('fine')
})

everywhere('list: by status, name and queue, a page at a time', async (place) => {
  const deferq = place.deferq({
    tasks: [task('a', { run: (n: number) => n }), task('b', { run: (n: number) => n })],
  })
  const ids = new Set<string>()
  for (let n = 0; n < 12; n++) {
    const { taskId } = await deferq.dispatch(n % 3 === 0 ? 'b' : 'a', n, {
      queue: n % 2 === 0 ? 'even' : 'odd',
    })
    ids.add(taskId)
  }
  await workOff(deferq, { names: ['b'] })
  const all = async (filter: object) => {
    const found: string[] = []
    let cursor: string | undefined
    do {
      const page = await deferq.list(filter, cursor)
      found.push(...page.receipts.map(({ taskId }) => taskId))
      cursor = page.cursor
    } while (cursor !== undefined)
    expect(new Set(found).size).toBe(found.length)
    return found
  }
  expect(new Set(await all({}))).toEqual(ids)
  expect(await all({ limit: 5 })).toHaveLength(12)
  expect(await all({ status: 'completed', limit: 3 })).toHaveLength(4)
  expect(await all({ status: 'pending', queue: 'odd' })).toHaveLength(4)
  expect(await all({ name: 'a', limit: 1 })).toHaveLength(8)
  expect(await all({ status: 'cancelled' })).toEqual([])
  const [id] = await all({ name: 'b', status: 'completed', limit: 1 })
  expect(await deferq.getStatus(id as string)).toMatchObject({ name: 'b', status: 'completed', attempt: 1 })
})

everywhere('stats: what waits and runs by queue and name, and what has happened', async (place) => {
  const deferq = place.deferq({
    tasks: [task('a', { retries: 1, backoff: '1h', run: (n: number) => check(n) })],
  })
  const check = (n: number): number => {
    if (n < 0) throw new Error('negative')
    return n
  }
  for (const n of [1, 2, -1]) await deferq.dispatch('a', n)
  await deferq.dispatch('a', 1)
  await deferq.dispatch('a', 9, { queue: 'later', delay: '1h' })
  const { lanes } = await deferq.stats()
  expect(lanes.sort((a, b) => a.pending - b.pending)).toEqual([
    { queue: 'later', name: 'a', pending: 1, running: 0 },
    { queue: 'default', name: 'a', pending: 3, running: 0 },
  ])
  await workOff(deferq)
  await deferq.dispatch('a', 1)
  const { taskId } = await deferq.dispatch('a', 9, { queue: 'later' })
  await deferq.cancel(taskId)
  expect(await deferq.stats()).toMatchObject({
    lanes: [{ queue: 'default', name: 'a', pending: 1, running: 0 }],
    totals: { created: 4, joined: 2, hit: 1, completed: 2, retried: 1, cancelled: 1 },
  })
})

everywhere(
  'many at once: answers line up, equal ones share a run, and one malformed stops all',
  async (place) => {
    const deferq = place.deferq({ tasks: [task('x', { run: (n: number) => n * 2 })] })
    expect(await deferq.dispatchMany([])).toEqual([])
    const items = Array.from({ length: 300 }, (_, n) => ({ name: 'x' as const, params: n % 100 }))
    const receipts = await deferq.dispatchMany(items)
    expect(receipts.map(({ fingerprint }) => fingerprint).slice(0, 100)).toEqual(
      receipts.map(({ fingerprint }) => fingerprint).slice(100, 200),
    )
    expect(new Set(receipts.map(({ taskId }) => taskId)).size).toBe(100)
    expect(receipts.filter(({ outcome }) => outcome === 'created')).toHaveLength(100)
    await workOff(deferq, { concurrency: 50 })
    const hits = await deferq.dispatchMany(items)
    expect(hits.map(({ result }) => result)).toEqual(items.map(({ params }) => params * 2))
    const error = await failing(
      'UNHASHABLE_PARAMS',
      deferq.dispatchMany([
        { name: 'x', params: 1_000 },
        { name: 'x', params: Number.NaN },
      ]),
    )
    expect(error.message).toMatch(/^dispatchMany\(\)\[1\]: /)
    expect((await deferq.dispatch('x', 1_000)).outcome).toBe('created')
  },
)

test('a name that is not in the list is refused everywhere, with those that are', async () => {
  const deferq = memory().deferq({ tasks: [task('report', { run: () => 1 })] })
  const name = 'raport' as never
  for (const call of [
    () => deferq.dispatch(name, {} as never, {} as never),
    () => deferq.run(name, {} as never, {} as never),
    () => deferq.dispatchMany([{ name, params: {} }] as never),
    () => deferq.invalidate(name, {} as never),
  ]) {
    expect((await failing('UNKNOWN_TASK', call)).message).toContain("'report'")
  }
})
