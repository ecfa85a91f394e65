// A store that is away, goes away, or hands out nonsense: workers keep trying, keep their outcomes, and harm no other task.
import { expect, test } from 'vitest'
import type { Claimed } from '../../src/contract/engine.ts'
import { DeferQ, DeferqError, task, Worker } from '../../src/index.ts'
import { AWAY, breakable, eventually, failing, gate, listening, SILENT, working } from '../facade/places.ts'

test('a worker that starts while the store is away keeps trying, says so now and then, and then works', async () => {
  const broken = breakable()
  const { logger, said } = listening()
  broken.break(['open'])
  const deferq = new DeferQ({ engine: broken.engine, tasks: [task('x', { run: () => 'here' })], logger })
  const worker = working(deferq)
  const troubles: unknown[] = []
  worker.on('trouble', (error) => troubles.push(error))
  await eventually('it has tried a few times', () => troubles.length >= 3)
  await failing('STORE_UNAVAILABLE', deferq.dispatch('x', undefined))
  expect(said(/store is away/)).toHaveLength(1)
  expect(troubles.every((error) => error === AWAY)).toBe(true)
  broken.mend()
  expect(await deferq.run('x', undefined)).toBe('here')
  expect(await worker.stop()).toMatchObject({ reason: 'stopped', completed: 1 })
  await deferq.close()
})

test('while it waits for the store it can be stopped, and its maxRuntime counts', async () => {
  const broken = breakable()
  broken.break(['open'])
  const deferq = new DeferQ({ engine: broken.engine, tasks: [task('x', { run: () => 1 })], logger: SILENT })
  const worker = new Worker(deferq)
  const ran = worker.run()
  await eventually('it has tried', () => (broken.calls.open?.length ?? 0) > 1)
  expect((await worker.stop())?.reason).toBe('stopped')
  expect(await ran).toMatchObject({ claimed: 0 })
  expect(await new Worker(deferq, { maxRuntime: 50 }).run()).toMatchObject({ reason: 'maxRuntime' })
})

test('what no waiting can mend ends the worker with the error', async () => {
  const broken = breakable()
  broken.break(['open'], new DeferqError('STORE_MISMATCH', 'Another version wrote this.'))
  const deferq = new DeferQ({ engine: broken.engine, tasks: [task('x', { run: () => 1 })], logger: SILENT })
  await failing('STORE_MISMATCH', new Worker(deferq).run())
})

test('a store that goes away in mid-work: outcomes are kept, and settled when it is back', async () => {
  const broken = breakable()
  const runs: number[] = []
  const go = gate()
  const x = task('x', {
    retries: 0,
    run: async (n: number) => {
      runs.push(n)
      await go.opened
      if (n === 3) throw new Error('three')
      return n
    },
  })
  const deferq = new DeferQ({ engine: broken.engine, tasks: [x], logger: SILENT })
  const ids = (await deferq.dispatchMany([1, 2, 3, 4, 5].map((params) => ({ name: 'x', params })))).map(
    ({ taskId }) => taskId,
  )
  const worker = working(deferq, { concurrency: 4, lease: '1h' })
  await eventually('four run', () => runs.length === 4)
  broken.break(['settle', 'claim', 'extend', 'sweep', 'count'])
  go.open()
  await eventually('settling is tried again', () => (broken.calls.settle?.length ?? 0) >= 3)
  expect((await deferq.list({ status: 'running' })).receipts).toHaveLength(4)
  broken.mend()
  const ends = await Promise.all(ids.map((id) => deferq.result(id).catch((error) => error.cause.message)))
  expect(ends).toEqual([1, 2, 'three', 4, 5])
  expect(runs).toEqual([1, 2, 3, 4, 5])
  expect(await worker.stop()).toMatchObject({ claimed: 5, completed: 4, failed: 1, lost: 0 })
  await deferq.close()
})

test('an answer that is lost on its way: settling again is harmless', async () => {
  const broken = breakable()
  let lost = 0
  const engine = new Proxy(broken.engine, {
    get: (target, verb) =>
      verb === 'settle'
        ? async (outcomes: never, want: never) => {
            const answer = await target.settle(outcomes, want)
            if (lost++ < 2) throw AWAY
            return answer
          }
        : Reflect.get(target, verb),
  })
  const deferq = new DeferQ({ engine, tasks: [task('x', { run: (n: number) => n })], logger: SILENT })
  working(deferq, { lease: 300, sweep: 20, concurrency: 1 })
  expect(await Promise.all([1, 2, 3, 4].map((n) => deferq.run('x', n)))).toEqual([1, 2, 3, 4])
  expect((await deferq.stats()).totals).toMatchObject({ completed: 4 })
  expect((await deferq.stats()).totals.outcomesRefused).toBeUndefined()
  await deferq.close()
})

test('after failures as many run at a time as before, no more and no less', async () => {
  const broken = breakable()
  let running = 0
  let most = 0
  const x = task('x', {
    run: async (_: number) => {
      most = Math.max(most, ++running)
      await new Promise((resolve) => setTimeout(resolve, 5))
      running--
    },
  })
  const deferq = new DeferQ({ engine: broken.engine, tasks: [x], logger: SILENT })
  working(deferq, { concurrency: 3 })
  for (let round = 0; round < 5; round++) {
    broken.break(['settle', 'claim'])
    const ids = await deferq.dispatchMany(
      Array.from({ length: 10 }, (_, n) => ({ name: 'x', params: round * 10 + n })),
    )
    await eventually('it fails', () => (broken.calls.claim?.length ?? 0) > round)
    broken.mend()
    await Promise.all(ids.map(({ taskId }) => deferq.result(taskId)))
  }
  expect(most).toBe(3)
  await deferq.close()
})

test('stored text that makes no sense fails that task alone, at once', async () => {
  const broken = breakable()
  const spoil: Record<string, (entry: Claimed['entry']) => Partial<Claimed['entry']>> = {
    '1': () => ({ params: '{"not json' }),
    '2': () => ({ params: '{"$deferq":["Date","never"]}' }),
    '3': () => ({ extra: 'not json' }),
  }
  const engine = new Proxy(broken.engine, {
    get: (target, verb) =>
      verb === 'claim' || verb === 'settle'
        ? async (...args: [never, never]) => {
            const answer = await target[verb](...args)
            const claimed = answer.claimed.map((claim) => ({
              ...claim,
              entry: { ...claim.entry, ...spoil[claim.entry.params]?.(claim.entry) },
            }))
            return { ...answer, claimed }
          }
        : Reflect.get(target, verb),
  })
  let runs = 0
  const x = task('x', { run: (n: number) => [n, ++runs] })
  const deferq = new DeferQ({ engine, tasks: [x], logger: listening().logger })
  const ends = [1, 2, 3, 4].map((n) => deferq.run('x', n).catch((error) => error))
  working(deferq)
  expect(await ends[3]).toEqual([4, 1])
  for (const end of ends.slice(0, 3)) {
    expect(await end).toMatchObject({
      code: 'TASK_FAILED',
      cause: { code: 'MALFORMED_VALUE' },
      details: { attempts: 1 },
    })
  }
  await deferq.close()
})

test('rows that an engine sets aside are logged', async () => {
  const broken = breakable()
  let told = false
  const engine = new Proxy(broken.engine, {
    get: (target, verb) =>
      verb === 'claim'
        ? async (want: never) => {
            const claims = await target.claim(want)
            if (told) return claims
            told = true
            return { ...claims, malformed: [{ id: 'some id', reason: 'no JSON' }] }
          }
        : Reflect.get(target, verb),
  })
  const { logger, said } = listening()
  const deferq = new DeferQ({ engine, tasks: [task('x', { run: () => 1 })], logger })
  working(deferq)
  expect(await deferq.run('x', undefined)).toBe(1)
  expect(said(/malformed/)).toMatchObject([{ level: 'error', details: { id: 'some id', reason: 'no JSON' } }])
  await deferq.close()
})
