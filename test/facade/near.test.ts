// The near cache: what it answers, what it never answers, and how it forgets.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { NearCache } from '../../src/dispatch/near-cache.ts'
import { MemoryEngine, MemoryStore } from '../../src/engines/memory/index.ts'
import { DeferQ, task } from '../../src/index.ts'
import { breakable, eventually, everywhere, failing, memory, workOff } from './places.ts'

function counting() {
  let runs = 0
  return task('count', { run: async (_: { of: string }) => ({ runs: ++runs, list: [1] }) })
}

test('a hit is answered without the store, and nobody can spoil it for the others', async () => {
  const { engine, calls } = breakable()
  const deferq = new DeferQ({ engine, tasks: [counting()], nearCache: true })
  await deferq.dispatch('count', { of: 'a' })
  await workOff(deferq)
  const first = await deferq.dispatch('count', { of: 'a' })
  const asked = calls.admit?.length
  const second = await deferq.dispatch('count', { of: 'a' })
  expect(second).toEqual(first)
  for (let asked = 0; asked < 3; asked++) {
    const result = (await deferq.run('count', { of: 'a' })) as { runs: number; list: number[] }
    expect(result).toEqual({ runs: 1, list: [1] })
    result.list.push(2)
    result.runs = 9
  }
  expect(calls.admit?.length, 'the store was not asked').toBe(asked)
  await deferq.dispatch('count', { of: 'a' }, { priority: 1 })
  expect(calls.admit?.length, 'with options it is').toBe((asked as number) + 1)
  await deferq.close()
})

test('it is fresh by the store’s clock, and for no longer', async () => {
  let now = 1_750_000_000_000
  const deferq = new DeferQ({
    engine: new MemoryEngine({ store: new MemoryStore(() => now) }),
    tasks: [task('brief', { resultTtl: 150, run: (_: object) => 1 })],
    nearCache: true,
  })
  await deferq.dispatch('brief', {})
  await workOff(deferq)
  expect((await deferq.dispatch('brief', {})).outcome).toBe('hit')
  now += 151
  await eventually('it asks again', async () => (await deferq.dispatch('brief', {})).outcome === 'created')
  await deferq.close()
})

everywhere('what another process invalidates is forgotten here', async (place) => {
  const tasks = [counting()] as const
  const near = place.deferq({ tasks, nearCache: true })
  const other = place.deferq({ tasks })
  for (const invalidate of [() => other.invalidate('count', { of: 'a' }), () => other.invalidate('count')]) {
    await near.dispatch('count', { of: 'a' })
    await workOff(other)
    expect((await near.dispatch('count', { of: 'a' })).outcome).toBe('hit')
    expect((await near.dispatch('count', { of: 'a' })).outcome).toBe('hit')
    expect(await invalidate()).toBe(1)
    await eventually(
      'it is forgotten',
      async () => (await near.dispatch('count', { of: 'a' })).outcome !== 'hit',
    )
    await workOff(other)
  }
})

everywhere('what this process invalidates or asks for anew is forgotten at once', async (place) => {
  const deferq = place.deferq({ tasks: [counting()], nearCache: true })
  const of = { of: 'a' }
  const warm = async (): Promise<void> => {
    await deferq.dispatch('count', of)
    await workOff(deferq)
    expect((await deferq.dispatch('count', of)).outcome).toBe('hit')
  }
  await warm()
  await deferq.invalidate('count', of)
  expect((await deferq.dispatch('count', of)).outcome).toBe('created')
  await warm()
  await deferq.invalidate('count')
  expect((await deferq.dispatch('count', of)).outcome).toBe('created')
  await warm()
  const { taskId } = await deferq.dispatch('count', of)
  await deferq.invalidate(taskId)
  expect((await deferq.dispatch('count', of)).outcome).toBe('created')
  await warm()
  await deferq.dispatch('count', of, { refresh: true })
  await workOff(deferq)
  expect(await deferq.run('count', of)).toMatchObject({ runs: 5 })
})

test('while hints can’t be heard, and after they come back, nothing is answered from near', async () => {
  const engine = new MemoryEngine()
  let hears = true
  let tell: ((hint: { kind: 'changed' }) => void) | undefined
  const listen = engine.listen.bind(engine)
  engine.listen = (hear) => {
    tell = hear
    return { ...listen(hear), hears: () => hears }
  }
  const { engine: watched, calls } = breakable(engine)
  const deferq = new DeferQ({ engine: watched, tasks: [counting()], nearCache: true })
  const asked = async (): Promise<number> => {
    const before = calls.admit?.length ?? 0
    await deferq.dispatch('count', { of: 'a' })
    return (calls.admit?.length ?? 0) - before
  }
  await deferq.dispatch('count', { of: 'a' })
  await workOff(deferq)
  await asked()
  expect(await asked()).toBe(0)
  hears = false
  expect(await asked()).toBe(1)
  hears = true
  await asked()
  expect(await asked()).toBe(0)
  tell?.({ kind: 'changed' })
  expect(await asked(), 'what was missed is not known').toBe(1)
  await deferq.close()
})

test('an answer that was under way during an invalidation is not kept', () => {
  const near = new NearCache(10)
  near.opened({ hears: () => true } as never)
  const verdict = {
    outcome: 'hit',
    freshMs: 1_000,
    sameParams: true,
    entry: { id: 'a'.repeat(88), name: 'n' },
  } as never
  const { epoch } = near
  near.forget({ name: 'n' })
  near.keep('n', 'spot', verdict, performance.now(), epoch)
  expect(near.find('n', 'spot')).toBeUndefined()
  near.keep('n', 'spot', verdict, performance.now(), near.epoch)
  expect(near.find('n', 'spot')).toMatchObject({ name: 'n' })
  near.keep('alias', 'spot', verdict, performance.now(), near.epoch)
  expect(near.find('alias', 'spot'), 'as it was asked for').toMatchObject({ name: 'n' })
  near.hear({ kind: 'invalidated', selector: { keys: ['a'.repeat(64)] } })
  expect(near.find('n', 'spot')).toBeUndefined()
  expect(near.find('alias', 'spot')).toBeUndefined()
})

test('it holds no more than it may', async () => {
  const deferq = memory().deferq({ tasks: [counting()], nearCache: { entries: 2 } })
  const { engine, calls } = breakable()
  const small = new DeferQ({ engine, tasks: [counting()], nearCache: { entries: 2 } })
  for (const of of ['a', 'b', 'c']) await small.dispatch('count', { of })
  await workOff(small)
  for (const of of ['a', 'b', 'c']) await small.dispatch('count', { of })
  const before = calls.admit?.length as number
  for (const of of ['b', 'c']) await small.dispatch('count', { of })
  expect(calls.admit?.length).toBe(before)
  await small.dispatch('count', { of: 'a' })
  expect(calls.admit?.length).toBe(before + 1)
  await Promise.all([deferq.close(), small.close()])
  for (const nearCache of [{ entries: 0 }, { size: 3 }, 'yes'])
    await failing('INVALID_OPTION', () => new DeferQ({ nearCache: nearCache as never }))
})

test('results of every sort come back as they were, again and again', async () => {
  const results = [
    undefined,
    null,
    0,
    '',
    'text',
    [],
    {},
    [[1], { a: [{ b: null }] }],
    new Date(5),
    { at: new Date(5), of: [1] },
    new Map([['a', { b: 1 }]]),
    '"$deferq" __proto__',
    { text: '\u2028"\\' },
    { long: 'x'.repeat(10_000), list: [1] },
  ]
  const echo = task('echo', { run: ({ of }: { of: number }) => results[of] })
  const { engine, calls } = breakable()
  const deferq = new DeferQ({ engine, tasks: [echo], nearCache: true })
  for (const of of results.keys()) await deferq.dispatch('echo', { of })
  await workOff(deferq)
  for (let round = 0; round < 4; round++) {
    for (const [of, result] of results.entries()) expect(await deferq.run('echo', { of })).toEqual(result)
    if (round === 0) calls.admit = []
  }
  expect(calls.admit).toEqual([])
  await deferq.close()
})

test('no two params that differ share a near key', () => {
  const near = new NearCache(10)
  const values = [
    { a: 1 },
    { a: '1' },
    { a: 1n },
    { a: null },
    { a: new Date(0) },
    { a: '1970-01-01T00:00:00.000Z' },
    { a: [1] },
    { a: { b: 1 } },
    { a: new Map() },
    { a: {} },
    { a: new Set() },
    { a: true },
    [1],
    ['1'],
    '1',
    1,
    null,
    {},
    { a: new Uint8Array(1) },
  ]
  const spots = values.map((value) => near.nearKey(value))
  expect(new Set(spots).size).toBe(values.length)
  expect(() => near.nearKey({ a: Number.NaN })).toThrow()
  expect(() => near.nearKey({ toJSON: 1, a: () => 1 })).toThrow()
  const plain = fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer(), fc.boolean()), {
    noNullPrototype: true,
  })
  fc.assert(
    fc.property(plain, plain, (one, two) => {
      const same = Object.keys({ ...one, ...two }).every((key) => one[key] === two[key])
      if (near.nearKey(one) === near.nearKey(two)) expect(same).toBe(true)
    }),
  )
})
