// Params that were answered with a result are known by their text from then on: the key stays what their hash says.
import { expect, test } from 'vitest'
import { fingerprint, task } from '../../src/index.ts'
import { HotKeys } from '../../src/values/key-cache.ts'
import { memory, working } from './places.ts'

test('what is asked for again has the key of its hash, and nothing else shares it', async () => {
  const store = memory()
  const run = (n: number): number => n
  const narrow = task('narrow', { resultTtl: '1h', key: (n: number) => n % 10, run })
  const grouped = task('grouped', { resultTtl: '1h', concurrency: { limit: 1, by: (n) => n % 2 }, run })
  const deferq = store.deferq({ tasks: [task('x', { resultTtl: '1h', run }), narrow, grouped] })
  const other = store.deferq({ tasks: [task('x', { resultTtl: '1h', version: 2, run: (n: number) => -n })] })
  working(deferq, { names: ['narrow', 'grouped'] })
  const asked = () =>
    Promise.all(
      [1, 2, 3].flatMap((n) => [
        deferq.dispatch('x', n),
        deferq.dispatch('x', n, { scope: 'a' }),
        deferq.dispatch('narrow', n),
        deferq.dispatch('grouped', n),
        other.dispatch('x', n),
      ]),
    )
  const keysOf = (receipts: Awaited<ReturnType<typeof asked>>) => receipts.map((each) => each.fingerprint)
  const cold = keysOf(await asked())
  expect(cold[0]).toBe(fingerprint({ name: 'x', params: 1 }).key)
  expect(new Set(cold).size).toBe(15)
  // By whoever of the two gets them: version and scope are in the keys alone.
  working(deferq, { names: ['x'] })
  for (const n of [1, 2, 3]) {
    for (const name of ['x', 'narrow', 'grouped'] as const) expect(await deferq.run(name, n)).toBe(n)
    await Promise.all([deferq.run('x', n, { scope: 'a' }), other.run('x', n)])
  }
  // Hashed once more, then found by their text.
  for (let time = 0; time < 3; time++) {
    const receipts = await asked()
    expect(keysOf(receipts)).toEqual(cold)
    expect(receipts.every(({ outcome }) => outcome === 'hit')).toBe(true)
  }
})

test('as many are kept as were told of last, twice', () => {
  const hot = new HotKeys()
  const tell = (from: number, to: number): void => {
    for (let n = from; n < to; n++) hot.add(String(n), `key ${n}`)
  }
  expect(hot.get('0')).toBeUndefined()
  tell(0, 1_600)
  expect(['999', '1000', '1599'].map((text) => hot.get(text))).toEqual([undefined, 'key 1000', 'key 1599'])
  // One that is told of again stays.
  tell(1_000, 1_001)
  tell(2_000, 2_500)
  expect(['1000', '1001'].map((text) => hot.get(text))).toEqual(['key 1000', undefined])
  const long = 'x'.repeat(2_000)
  hot.add(long, 'key')
  expect(hot.get(long)).toBeUndefined()
})
