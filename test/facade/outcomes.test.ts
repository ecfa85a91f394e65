// What a dispatch comes to: created, joined, hit, stale, negative and rejected, and the receipt of each.
import { expect, test } from 'vitest'
import { task } from '../../src/index.ts'
import { everywhere, failing, memory, workOff } from './places.ts'

function counting() {
  let runs = 0
  return task('count', { run: async ({ of }: { of: string }) => ({ of, runs: ++runs }) })
}

everywhere('the first asks for the run, the others join it, those after it get its result', async (place) => {
  const deferq = place.deferq({ tasks: [counting()] })
  const first = await deferq.dispatch('count', { of: 'a' })
  expect(first).toMatchObject({
    outcome: 'created',
    status: 'pending',
    sameParams: true,
    name: 'count',
    queue: 'default',
    priority: 0,
    attempt: 0,
    history: [],
  })
  expect(first.taskId).toMatch(/^[0-9a-f]{88}$/)
  expect(first.fingerprint).toBe(first.taskId.slice(0, 64))
  expect(first.createdAt).toBeInstanceOf(Date)
  expect(first.dueAt).toBeInstanceOf(Date)
  expect(first.result).toBeUndefined()
  expect(first.finishedAt).toBeUndefined()

  const second = await deferq.dispatch('count', { of: 'a' })
  expect(second).toMatchObject({ outcome: 'joined', status: 'pending', taskId: first.taskId })
  const other = await deferq.dispatch('count', { of: 'b' })
  expect(other).toMatchObject({ outcome: 'created' })
  expect(other.taskId).not.toBe(first.taskId)

  await workOff(deferq)
  const third = await deferq.dispatch('count', { of: 'a' })
  expect(third).toMatchObject({ outcome: 'hit', status: 'completed', taskId: first.taskId, attempt: 1 })
  expect(third.result).toMatchObject({ of: 'a' })
  expect(third.startedAt).toBeInstanceOf(Date)
  expect(third.finishedAt).toBeInstanceOf(Date)
  expect(third.freshUntil?.getTime()).toBe((third.finishedAt?.getTime() ?? 0) + 3_600_000)
  expect(await deferq.run('count', { of: 'a' })).toEqual(third.result)
})

everywhere('a stale result is served while one refresh runs behind it', async (place) => {
  let runs = 0
  const price = task('price', { resultTtl: 0, staleTtl: '1h', run: () => ++runs })
  const deferq = place.deferq({ tasks: [price] })
  const first = await deferq.dispatch('price', {})
  await workOff(deferq)
  const stale = await deferq.dispatch('price', {})
  expect(stale).toMatchObject({ outcome: 'stale', status: 'completed', result: 1, taskId: first.taskId })
  expect(stale.refreshId).toMatch(/^[0-9a-f]{88}$/)
  expect(stale.refreshId).not.toBe(first.taskId)
  const again = await deferq.dispatch('price', {})
  expect(again).toMatchObject({ outcome: 'stale', refreshId: stale.refreshId })
  expect(await deferq.run('price', {})).toBe(1)
  await workOff(deferq)
  expect(await deferq.getResult(stale.refreshId as string)).toBe(2)
  expect(await deferq.dispatch('price', {})).toMatchObject({ outcome: 'stale', result: 2 })
  expect(runs).toBe(2)
})

everywhere('a failure frees the key, unless it is to be remembered', async (place) => {
  let runs = 0
  const broken = task('broken', {
    retries: 0,
    run: () => {
      throw new Error(`no. ${++runs}`)
    },
  })
  const deferq = place.deferq({ tasks: [broken] })
  const first = await deferq.dispatch('broken', {})
  await workOff(deferq)
  const second = await deferq.dispatch('broken', {}, { failureTtl: '1h' })
  expect(second).toMatchObject({ outcome: 'created', status: 'pending' })
  expect(second.taskId).not.toBe(first.taskId)
  expect((await deferq.getStatus(first.taskId)).error?.message).toMatch(/no\. 1$/)

  await workOff(deferq)
  const third = await deferq.dispatch('broken', {})
  expect(third).toMatchObject({ outcome: 'negative', status: 'failed', taskId: second.taskId })
  expect(third.error).toMatchObject({ code: 'TASK_FAILED', message: expect.stringMatching(/no\. 2$/) })
  expect(third.history).toHaveLength(1)
  await failing('TASK_FAILED', deferq.run('broken', {}))
  expect(runs).toBe(2)
  expect(await deferq.dispatch('broken', {}, { refresh: true })).toMatchObject({ outcome: 'created' })
})

everywhere('a cancelled run frees its key at once', async (place) => {
  const deferq = place.deferq({ tasks: [counting()] })
  const first = await deferq.dispatch('count', { of: 'a' })
  expect(await deferq.cancel(first.taskId)).toBe('cancelled')
  expect(await deferq.dispatch('count', { of: 'a' })).toMatchObject({ outcome: 'created' })
})

everywhere('refresh runs anew, and shares what is in flight', async (place) => {
  const deferq = place.deferq({ tasks: [counting()] })
  await deferq.dispatch('count', { of: 'a' })
  expect(await deferq.dispatch('count', { of: 'a' }, { refresh: true })).toMatchObject({ outcome: 'joined' })
  await workOff(deferq)
  const anew = await deferq.dispatch('count', { of: 'a' }, { refresh: true })
  expect(anew).toMatchObject({ outcome: 'created' })
  await workOff(deferq)
  expect(await deferq.getResult(anew.taskId)).toEqual({ of: 'a', runs: 2 })
  expect(await deferq.dispatch('count', { of: 'a' })).toMatchObject({ outcome: 'hit', taskId: anew.taskId })
})

everywhere('callers who differ under a narrowed key share it, or are refused, as they say', async (place) => {
  const mail = task('mail', { ignore: ['trace'], run: ({ trace }: { to: string; trace: number }) => trace })
  const deferq = place.deferq({ tasks: [mail] })
  const first = await deferq.dispatch('mail', { to: 'a', trace: 1 })
  expect(first.sameParams).toBe(true)
  const joined = await deferq.dispatch('mail', { to: 'a', trace: 2 })
  expect(joined).toMatchObject({ outcome: 'joined', sameParams: false, taskId: first.taskId })
  expect((await deferq.dispatch('mail', { to: 'a', trace: 1 })).sameParams).toBe(true)
  const rejected = await failing(
    'PARAMS_MISMATCH',
    deferq.dispatch('mail', { to: 'a', trace: 2 }, { onMismatch: 'reject' }),
  )
  expect(rejected.details).toMatchObject({ taskId: first.taskId })
  expect(rejected.message).toContain("'mail'")
  await workOff(deferq)
  expect(await deferq.dispatch('mail', { to: 'a', trace: 3 })).toMatchObject({
    outcome: 'hit',
    result: 1,
    sameParams: false,
  })
  await failing('PARAMS_MISMATCH', deferq.run('mail', { to: 'a', trace: 3 }, { onMismatch: 'reject' }))
  expect(await deferq.run('mail', { to: 'a', trace: 1 }, { onMismatch: 'reject' })).toBe(1)
})

everywhere(
  'asking again raises the priority and brings the moment forward, never the other way',
  async (place) => {
    const deferq = place.deferq({ tasks: [counting()] })
    const first = await deferq.dispatch('count', { of: 'a' }, { priority: 3, delay: '1h' })
    expect(first.dueAt.getTime() - first.createdAt.getTime()).toBe(3_600_000)
    const higher = await deferq.dispatch('count', { of: 'a' }, { priority: 9, delay: '2h' })
    expect(higher).toMatchObject({ priority: 9, dueAt: first.dueAt })
    const sooner = await deferq.dispatch('count', { of: 'a' }, { priority: -5, delay: 0 })
    expect(sooner.priority).toBe(9)
    expect(sooner.dueAt.getTime()).toBeLessThan(first.dueAt.getTime())
  },
)

everywhere('null, undefined, false, 0 and the empty text are results, and are cached', async (place) => {
  const values: unknown[] = [null, undefined, false, 0, '', [], new Map([[1n, new Set(['x'])]])]
  let runs = 0
  const echo = task('echo', {
    run: (index: number) => {
      runs++
      return values[index]
    },
  })
  const deferq = place.deferq({ tasks: [echo] })
  const ids = await Promise.all(values.map(async (_, index) => (await deferq.dispatch('echo', index)).taskId))
  const waiting = Promise.all(ids.map((id) => deferq.result(id, { timeout: '15s' })))
  await workOff(deferq)
  expect(await waiting).toEqual(values)
  for (const [index, value] of values.entries()) {
    const hit = await deferq.dispatch('echo', index)
    expect(hit.outcome).toBe('hit')
    expect(hit.result).toEqual(value)
    expect('result' in hit).toBe(true)
    expect(await deferq.run('echo', index)).toEqual(value)
    expect(await deferq.getResult(hit.taskId)).toEqual(value)
  }
  expect(runs).toBe(values.length)
})

test('a result is fresh, then stale, then gone, and at last the run can’t be read', async () => {
  let now = 1_750_000_000_000
  const place = memory(() => now)
  const brief = task('brief', { resultTtl: '10s', staleTtl: '5s', retention: '30s', run: () => 'x' })
  const deferq = place.deferq({ tasks: [brief] })
  const { taskId } = await deferq.dispatch('brief', {})
  await workOff(deferq)
  now += 9_999
  expect((await deferq.dispatch('brief', {})).outcome).toBe('hit')
  now += 1
  expect((await deferq.dispatch('brief', {})).outcome).toBe('stale')
  now += 5_000
  expect((await deferq.dispatch('brief', {})).outcome).toBe('joined')
  expect(await deferq.getResult(taskId)).toBe('x')
  now += 15_000
  const gone = await failing('TASK_NOT_FOUND', deferq.getResult(taskId))
  expect(gone.details).toEqual({ taskId, fingerprint: taskId.slice(0, 64) })
})
