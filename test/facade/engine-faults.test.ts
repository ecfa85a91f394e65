// An engine that fails, hangs or lies: its errors reach every caller of that batch and nobody else; and many at once.
import { expect, test } from 'vitest'
import type { Draft, Engine } from '../../src/contract/engine.ts'
import { MemoryEngine } from '../../src/engines/memory/index.ts'
import { DeferQ, DeferqError, task } from '../../src/index.ts'
import {
  AWAY,
  breakable,
  eventually,
  everywhere,
  failing,
  gate,
  listening,
  SILENT,
  working,
} from './places.ts'

const plain = (): { broken: ReturnType<typeof breakable>; deferq: DeferQ } => {
  const broken = breakable()
  return { broken, deferq: new DeferQ({ engine: broken.engine, logger: SILENT }) }
}

test('a failed batch fails all of its callers, twins too, and not those before and after', async () => {
  const { broken, deferq } = plain()
  const before = await deferq.dispatch('x', 0)
  broken.break(['admit'])
  const failed = [1, 2, 2, 2, 3].map((n) => failing('STORE_UNAVAILABLE', deferq.dispatch('x', n)))
  for (const error of await Promise.all(failed)) expect(error).toBe(AWAY)
  broken.mend()
  const [again, twin] = await Promise.all([deferq.dispatch('x', 2), deferq.dispatch('x', 2)])
  expect([again?.outcome, twin?.outcome]).toEqual(['created', 'joined'])
  expect((await deferq.dispatch('x', 0)).taskId).toBe(before.taskId)
  await deferq.close()
})

test('while one batch fails another that is under way does not', async () => {
  const { broken, deferq } = plain()
  await deferq.open()
  broken.hang(['admit'])
  const first = Promise.all([1, 2].map((n) => deferq.dispatch('x', n).catch((error) => error.code)))
  await eventually('the first batch is under way', () => broken.calls.admit?.length === 1)
  const second = Promise.all([3, 4].map((n) => deferq.dispatch('x', n)))
  await eventually('the second too', () => broken.calls.admit?.length === 2)
  // A third gathers while two are under way, and leaves as one batch.
  const third = Promise.all([5, 6, 5].map((n) => deferq.dispatch('x', n)))
  broken.mend()
  expect((await third).map(({ outcome }) => outcome)).toEqual(['created', 'created', 'joined'])
  expect((await second).every(({ outcome }) => outcome === 'created')).toBe(true)
  await first
  expect(broken.calls.admit?.map(([drafts]) => (drafts as Draft[]).length)).toEqual([2, 2, 2])
  await deferq.close()
})

test('where a store has shards, a batch is of one shard, and waits for no other', async () => {
  const engine = new MemoryEngine()
  const batches: Draft[][] = []
  const stuck = gate()
  const shardOf = (id: string): number => Number.parseInt(id.slice(0, 8), 16) % 3
  const sharded = new Proxy(engine, {
    get(target, member: keyof Engine) {
      if (member === 'shards') return 3
      if (member === 'admit') {
        return async (drafts: Draft[]) => {
          batches.push(drafts)
          if (batches.length > 1 && drafts.some(({ id }) => shardOf(id) === 1)) await stuck.opened
          return target.admit(drafts)
        }
      }
      const value = target[member as keyof MemoryEngine] as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const deferq = new DeferQ({ engine: sharded, logger: SILENT })
  // Which shards there are is known once the store is open.
  await deferq.dispatch('x', 'first')
  const all = Array.from({ length: 60 }, (_, n) => deferq.dispatch('x', n))
  const answered: string[] = []
  for (const one of all) void one.then(({ taskId }) => answered.push(taskId))
  await eventually('two of three shards have answered', () => batches.length === 4 && answered.length > 20)
  expect(answered.filter((id) => shardOf(id) === 1)).toEqual([])
  stuck.open()
  const ids = (await Promise.all(all)).map(({ taskId }) => taskId)
  expect(new Set(ids).size).toBe(60)
  const shards = batches.slice(1).map((batch) => [...new Set(batch.map(({ id }) => shardOf(id)))])
  expect(shards.sort()).toEqual([[0], [1], [2]])
  await deferq.close()
})

test('a dispatch of many never sends more than a store takes at once', async () => {
  const { broken, deferq } = plain()
  await deferq.dispatchMany(Array.from({ length: 2_500 }, (_, params) => ({ name: 'x', params })))
  const sizes = (broken.calls.admit ?? []).map(([drafts]) => (drafts as Draft[]).length)
  expect(Math.max(...sizes)).toBeLessThanOrEqual(1_000)
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(2_500)
  const { receipts } = await deferq.list({ limit: 1_000 })
  const ids = receipts.map(({ taskId }) => taskId)
  const waits = ids.map((id) => failing('CLOSED', deferq.result(id)))
  await eventually('all are read', () => (broken.calls.read ?? []).length > 5)
  expect(
    Math.max(...(broken.calls.read ?? []).map(([chunk]) => (chunk as string[]).length)),
  ).toBeLessThanOrEqual(1_000)
  await deferq.close()
  await Promise.all(waits)
})

test('an engine that can’t be opened fails each call, until it can', async () => {
  const { broken, deferq } = plain()
  broken.break(['open'])
  for (const call of [() => deferq.open(), () => deferq.dispatch('x', 1), () => deferq.stats()]) {
    await failing('STORE_UNAVAILABLE', call)
  }
  broken.mend()
  expect((await deferq.dispatch('x', 1)).outcome).toBe('created')
  // Whoever made the engine keeps it: a failed opening does not close it.
  expect(broken.calls.close).toBeUndefined()
  expect(broken.calls.open).toHaveLength(4)
  await deferq.close()
  expect(broken.calls.close).toHaveLength(1)
})

test('an error that is none of deferq’s reaches the caller as it is', async () => {
  const { broken, deferq } = plain()
  const own = new TypeError('engine bug')
  broken.break(['admit', 'read'], own)
  await expect(deferq.dispatch('x', 1)).rejects.toBe(own)
  await expect(deferq.getStatus('a'.repeat(88))).rejects.toBe(own)
  broken.break(['admit'], 'a text')
  await expect(deferq.dispatch('x', 1)).rejects.toBe('a text')
  await deferq.close()
})

test('a value that can’t be read fails whoever reads it, and no other', async () => {
  const { broken, deferq } = plain()
  const x = new DeferQ({
    engine: broken.engine,
    logger: SILENT,
    tasks: [task('x', { run: (n: number) => n })],
  })
  working(x)
  const ids = await Promise.all([1, 2].map(async (n) => (await deferq.dispatch('x', n)).taskId))
  await Promise.all(ids.map((id) => deferq.result(id)))
  const lying = new DeferQ({
    engine: new Proxy(broken.engine, {
      get: (target, verb) =>
        verb === 'read'
          ? async (asked: string[]) =>
              (await target.read(asked)).map((run) =>
                run?.id === ids[0] ? { ...run, result: '{"$deferq":["?"]}' } : run,
              )
          : Reflect.get(target, verb),
    }),
    logger: SILENT,
  })
  await failing('MALFORMED_VALUE', lying.getResult(ids[0] as string))
  await failing('MALFORMED_VALUE', lying.result(ids[0] as string))
  expect(await lying.result(ids[1] as string)).toBe(2)
  await deferq.close()
})

test('hints of trouble are logged, with a logger that throws as well', async () => {
  let tell: (hint: { kind: 'trouble'; message: string; error?: unknown }) => void = () => {}
  const keep = (hear: typeof tell) => {
    tell = hear
    return () => true
  }
  const { broken } = plain()
  const engine = new Proxy(broken.engine, {
    get: (target, verb) => (verb === 'listen' ? keep : Reflect.get(target, verb)),
  })
  const { logger, said } = listening()
  const deferq = new DeferQ({ engine, logger })
  await deferq.open()
  tell({ kind: 'trouble', message: 'the hints are away', error: AWAY })
  expect(said(/hints are away/)).toMatchObject([{ level: 'warn', details: { error: AWAY } }])
  logger.warn = () => {
    throw new Error('the disk is full')
  }
  expect(() => tell({ kind: 'trouble', message: 'again' })).not.toThrow()
  await deferq.close()
})

everywhere(
  '1,000 dispatches of 40 keys at once, from three connections: one run and one id for each key',
  async (place) => {
    const go = gate()
    const runs = new Map<number, number>()
    const x = task('x', {
      run: async (key: number) => {
        runs.set(key, (runs.get(key) ?? 0) + 1)
        await go.opened
        if (key % 4 === 3) throw new DeferqError('USAGE', `${key}`)
        return { key }
      },
      retries: 0,
    })
    const asking = [place.deferq({ tasks: [x] }), place.deferq({ tasks: [x] }), place.deferq({ tasks: [x] })]
    for (const deferq of asking) working(deferq, { concurrency: 20 })
    const answers = Promise.all(
      Array.from({ length: 1_000 }, async (_, index) => {
        const deferq = asking[index % 3] as (typeof asking)[0]
        const key = index % 40
        if (index % 2 === 0) return deferq.run('x', key).catch((error) => error.cause.message)
        const { taskId } = await deferq.dispatch('x', key)
        return deferq.result(taskId).catch((error) => error.cause.message)
      }),
    )
    // Opened once all have been admitted, so that none came too late to join a failing run.
    await eventually('all have been admitted', async () => {
      const { created = 0, joined = 0, hit = 0 } = (await (asking[0] as (typeof asking)[0]).stats()).totals
      return runs.size === 40 && created === 40 && created + joined + hit >= 40
    })
    await eventually('none is on its way', async () => {
      const first = await (asking[0] as (typeof asking)[0]).stats()
      await new Promise((resolve) => setTimeout(resolve, 100))
      const second = await (asking[0] as (typeof asking)[0]).stats()
      return JSON.stringify(first.totals) === JSON.stringify(second.totals)
    })
    go.open()
    expect(await answers).toEqual(
      Array.from({ length: 1_000 }, (_, index) => (index % 4 === 3 ? `${index % 40}` : { key: index % 40 })),
    )
    expect([...runs.values()].every((count) => count === 1)).toBe(true)
    expect((await (asking[0] as (typeof asking)[0]).stats()).totals.created).toBe(40)
  },
)
