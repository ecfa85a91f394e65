// Batches: counts, callbacks for the whole, members that are shared, results in order, and an end by cancelling.
import { expect, test } from 'vitest'
import type { BatchStatus } from '../../src/index.ts'
import { DeferQ, NoRetryError, task } from '../../src/index.ts'
import { eventually, everywhere, failing, gate, memory, working, workOff } from '../facade/places.ts'

const square = task('square', {
  retries: 0,
  run: async ({ n }: { n: number }) => {
    if (n < 0) throw new NoRetryError(`${n} is negative`)
    return n * n
  },
})
const item = (n: number) => ({ name: 'square' as const, params: { n } })

everywhere('counts its members, and answers their results in their order', async (place) => {
  const deferq = place.deferq({ tasks: [square] })
  await deferq.dispatch('square', { n: 2 })
  await workOff(deferq)
  const batch = await deferq.batch([1, 2, 3, 1].map(item))
  expect(batch).toMatchObject({ total: 4, pending: 3, completed: 1, failed: 0, cancelled: 0 })
  expect(batch.id).toMatch(/^[0-9a-f]{88}$/)
  expect(batch.taskIds).toHaveLength(4)
  expect(batch.taskIds[3], 'members deduplicate').toBe(batch.taskIds[0])
  expect(await deferq.getBatch(batch.id)).toEqual(batch)
  working(deferq)
  const results = await deferq.batchResults(batch.id, { timeout: '10s' })
  expect(results.map((each) => (each.status === 'fulfilled' ? each.value : each.reason))).toEqual([
    1, 4, 9, 1,
  ])
  await eventually('the batch is over', async () => (await deferq.getStatus(batch.id)).status === 'completed')
  expect(await deferq.getBatch(batch.id)).toMatchObject({ total: 4, pending: 0, completed: 4 })
  expect(await deferq.result(batch.id)).toMatchObject({ total: 4, completed: 4, failed: 0 })
})

everywhere('then, catch and finally are told of the whole, each once', async (place) => {
  const told: string[] = []
  const tell = task('tell', {
    run: async ({ what }: { what: string }, { parent }) => {
      told.push(`${what} ${parent?.status}`)
    },
  })
  const deferq = place.deferq({ tasks: [square, tell] })
  working(deferq)
  const callbacks = {
    then: { name: 'tell', params: { what: 'then' } },
    catch: { name: 'tell', params: { what: 'catch' } },
    finally: [{ name: 'tell', params: { what: 'finally' } }],
  }
  await deferq.batch([1, 2].map(item), callbacks)
  await eventually('good ends are told', () => told.length === 2)
  expect(told.sort()).toEqual(['finally completed', 'then completed'])
  told.length = 0
  const failed = await deferq.batch([1, -1].map(item), callbacks)
  await eventually('bad ends are told', () => told.length === 2)
  expect(told.sort()).toEqual(['catch failed', 'finally failed'])
  expect(await deferq.getBatch(failed.id)).toMatchObject({ pending: 0, completed: 1, failed: 1 })
  const error = await failing('TASK_FAILED', deferq.getResult(failed.id))
  expect(error.cause).toMatchObject({ code: 'BATCH_FAILED', details: { completed: 1, failed: 1 } })
  const [one, two] = await deferq.batchResults(failed.id)
  expect(one).toMatchObject({ status: 'fulfilled', value: 1 })
  expect(two).toMatchObject({ status: 'rejected', reason: { code: 'TASK_FAILED' } })
})

test('together: false tells the callbacks of each member; functions and progress hear of them in this process', async () => {
  const deferq = memory().deferq({ tasks: [square] })
  working(deferq)
  const ends: unknown[] = []
  const seen: BatchStatus[] = []
  const batch = await deferq.batch([1, 2, -3].map(item), {
    together: false,
    then: (receipt) => void ends.push(receipt.result),
    catch: (receipt) => void ends.push(receipt.status),
    progress: (status) => void seen.push(status),
  })
  await eventually('all are told', () => ends.length === 3 && seen.length === 3)
  expect(new Set(ends)).toEqual(new Set([1, 4, 'failed']))
  expect(seen.map(({ pending }) => pending)).toEqual([2, 1, 0])
  expect(seen.at(-1)).toMatchObject({ id: batch.id, total: 3, completed: 2, failed: 1 })
})

everywhere(
  'cancelling ends what the batch has created, and leaves what others asked for before',
  async (place) => {
    const deferq = place.deferq({ tasks: [square] })
    const other = await deferq.dispatch('square', { n: 7 })
    const batch = await deferq.batch([6, 7, 8].map(item), { queue: 'batches' })
    expect((await deferq.getStatus(batch.taskIds[0] as string)).queue).toBe('batches')
    expect(await deferq.cancelBatch(batch.id, 'enough')).toMatchObject({ pending: 1, cancelled: 2 })
    expect(await deferq.getStatus(batch.id)).toMatchObject({ status: 'cancelled' })
    expect(await deferq.getBatch(batch.id)).toMatchObject({ pending: 1, cancelled: 2 })
    expect((await failing('TASK_CANCELLED', deferq.getResult(batch.taskIds[0] as string))).message).toContain(
      'enough',
    )
    expect(await deferq.getStatus(other.taskId)).toMatchObject({ status: 'pending' })
  },
)

test('a worker that dies in the middle leaves the batch to the next', async () => {
  const place = memory()
  const held = gate()
  let slow = 0
  const wait = task('wait', {
    run: async (_: { n: number }) => {
      slow++
      await held.opened
    },
  })
  const deferq = place.deferq({ tasks: [wait] })
  const batch = await deferq.batch([1, 2].map((n) => ({ name: 'wait' as const, params: { n } })))
  const first = working(deferq)
  await eventually('both run', () => slow === 2)
  await first.abort()
  working(place.deferq({ tasks: [wait] }))
  held.open()
  await eventually('it ends', async () => (await deferq.getStatus(batch.id)).status === 'completed')
})

test('an empty batch is over at once; a thousand members are', async () => {
  const deferq = memory().deferq({ tasks: [square] })
  working(deferq, { concurrency: 100 })
  const empty = await deferq.batch([])
  expect(empty).toMatchObject({ total: 0, pending: 0 })
  await deferq.result(empty.id, { timeout: '5s' })
  const large = await deferq.batch(Array.from({ length: 3_000 }, (_, n) => item(n)))
  await deferq.batchResults(large.id)
  expect(await deferq.getBatch(large.id)).toMatchObject({ total: 3_000, completed: 3_000 })
})

test('what is malformed is refused, and so is an id that is no batch’s', async () => {
  const deferq = new DeferQ({ tasks: [square] })
  await failing('INVALID_OPTION', deferq.batch('square' as never))
  await failing('INVALID_OPTION', deferq.batch(Array(10_001).fill(item(1))))
  await failing('INVALID_OPTION', deferq.batch([], { whole: true } as never))
  await failing('INVALID_OPTION', deferq.batch([], { together: 1 } as never))
  await failing('INVALID_OPTION', deferq.batch([], { progress: 'x' } as never))
  await failing('INVALID_OPTION', deferq.batch([], { retention: 'long' }))
  await failing('UNKNOWN_TASK', deferq.batch([{ name: 'cube', params: {} } as never]))
  await failing('INVALID_ID', deferq.getBatch('x'))
  await failing('TASK_NOT_FOUND', deferq.getBatch('0'.repeat(88)))
  const { taskId } = await deferq.dispatch('square', { n: 1 })
  expect((await failing('INVALID_ID', deferq.getBatch(taskId))).message).toContain("a run of 'square'")
  await failing('INVALID_OPTION', () => task('deferq.batch', { run: () => 1 }))
})
