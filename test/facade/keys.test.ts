// What decides that two dispatches ask for the same: params, key, ignore, scope, version and idempotency key.
import { expect, test } from 'vitest'
import { fingerprint, task } from '../../src/index.ts'
import { everywhere, failing, memory, workOff } from './places.ts'

const run = (): number => 1

test('equal params are equal work however they are spelled, and different ones never are', async () => {
  const deferq = memory().deferq()
  const key = async (params: unknown) => (await deferq.dispatch('x', params)).fingerprint
  expect(await key({ a: 1, b: [1, { c: 2 }] })).toBe(await key({ b: [1, { c: 2 }], a: 1 }))
  expect(await key({ a: 1, b: undefined })).toBe(await key({ a: 1 }))
  expect(await key(-0)).toBe(await key(0))
  const apart = [
    42,
    '42',
    1n,
    1,
    new Date(0),
    new Date(0).toISOString(),
    new Map(),
    {},
    new Set(),
    [],
    null,
    'Ez',
    'FY',
  ]
  expect(new Set(await Promise.all(apart.map(key))).size).toBe(apart.length)
  expect((await deferq.dispatch('report.generate', { year: 2024, format: 'xlsx' })).fingerprint).toBe(
    '78353e79e0921ef8149b7248d9d2d0644763d248e638aac1b80d5787f3a721f0',
  )
  expect(await key({ a: 1 })).not.toBe((await deferq.dispatch('y', { a: 1 })).fingerprint)
})

test('what can’t be hashed is refused with its path, and too much with its limit', async () => {
  const deferq = memory().deferq({ limits: { depth: 5, nodes: 50, bytes: 200 } })
  const path = async (params: unknown) =>
    (await failing('UNHASHABLE_PARAMS', deferq.dispatch('x', params))).details?.path
  expect(await path({ a: { f: () => 1 } })).toBe('params.a.f')
  expect(await path([Number.NaN])).toBe('params[0]')
  expect(await path({ a: new (class Own {})() })).toBe('params.a')
  const cyclic: Record<string, unknown> = {}
  cyclic.self = { cyclic }
  expect(await path(cyclic)).toBe('params.self.cyclic')
  for (const large of [{ a: { a: { a: { a: { a: {} } } } } }, Array(60).fill(0), 'x'.repeat(300)]) {
    await failing('PARAMS_TOO_LARGE', deferq.dispatch('x', large))
  }
  expect((await deferq.dispatch('x', 'x'.repeat(150))).outcome).toBe('created')
})

everywhere('key, ignore, scope, version and idempotencyKey decide what is shared', async (place) => {
  const deferq = place.deferq({
    tasks: [
      task('keyed', { key: ({ id }: { id: number; at: number }) => id, run }),
      task('ignoring', { ignore: ['trace', 'meta.trace'], run: (_: object) => 1 }),
      task('scoped', { scope: true, run: (_: object) => 1 }),
      task('plain', { run: (_: object) => 1 }),
    ],
  })
  const key = async (...[name, params, options]: [never, unknown, object?]) =>
    (await deferq.dispatch(name, params as never, options as never)).fingerprint
  const of = key as unknown as (name: string, params: unknown, options?: object) => Promise<string>

  expect(await of('keyed', { id: 1, at: 1 })).toBe(await of('keyed', { id: 1, at: 2 }))
  expect(await of('keyed', { id: 1, at: 1 })).not.toBe(await of('keyed', { id: 2, at: 1 }))
  expect(await of('ignoring', { a: 1, trace: 1, meta: { trace: 2, b: 1 } })).toBe(
    await of('ignoring', { a: 1, meta: { b: 1 } }),
  )
  expect(await of('ignoring', { a: 1, meta: { b: 1 } })).not.toBe(
    await of('ignoring', { a: 1, meta: { b: 2 } }),
  )

  const scopes = [
    await of('scoped', { a: 1 }, { scope: 'ann' }),
    await of('scoped', { a: 1 }, { scope: 'bob' }),
    await of('scoped', { a: 1 }, { scope: '1' }),
    await of('plain', { a: 1 }),
    await of('plain', { a: 1 }, { scope: 'ann' }),
    await of('plain', { a: 1 }, { idempotencyKey: 'k' }),
    await of('plain', { a: 1 }, { idempotencyKey: 'k', scope: 'ann' }),
  ]
  expect(new Set(scopes).size).toBe(scopes.length)
  // A tenant's number means the same from a program, a command line and a URL.
  expect(await of('scoped', { a: 1 }, { scope: 1 })).toBe(scopes[2])
  expect(await of('plain', { other: 1 }, { idempotencyKey: 'k' })).toBe(scopes[5])
  expect(
    await deferq.dispatch('plain', { yet: 'another' }, { idempotencyKey: 'k', onMismatch: 'join' }),
  ).toMatchObject({ outcome: 'joined', sameParams: false })
  await failing(
    'PARAMS_MISMATCH',
    deferq.dispatch('plain', { yet: 'another' }, { idempotencyKey: 'k', onMismatch: 'reject' }),
  )
})

test('a scope that was declared can’t be forgotten', async () => {
  const deferq = memory().deferq({ tasks: [task('scoped', { scope: true, run: (_: object) => 1 })] })
  for (const options of [undefined, {}, { scope: undefined }, { scope: '' }]) {
    const error = await failing('SCOPE_REQUIRED', deferq.dispatch('scoped', {}, options as never))
    expect(error.message).toContain("'scoped'")
    await failing('SCOPE_REQUIRED', deferq.invalidate('scoped', {}, options as never))
  }
  expect((await deferq.dispatch('scoped', {}, { scope: 0 })).outcome).toBe('created')
})

everywhere('a version keeps the results of older code from newer code', async (place) => {
  const of = (version: string | number) =>
    place.deferq({ tasks: [task('build', { version, run: () => `by ${version}` })] })
  const [one, two] = [of(1), of('1')]
  const first = await one.dispatch('build', {})
  await workOff(one)
  expect(await two.dispatch('build', {})).toMatchObject({ outcome: 'created' })
  expect(await of(1).dispatch('build', {})).toMatchObject({ outcome: 'hit', taskId: first.taskId })
})

test('a key function that throws or answers undefined is refused, not shared by all', async () => {
  const deferq = memory().deferq({
    tasks: [
      task('misspelt', { key: (params: { id?: number }) => (params as { ID?: number }).ID, run }),
      task('throwing', {
        key: (_: object) => {
          throw new Error('no key')
        },
        run,
      }),
      task('nobody', { key: (_: object) => null, run }),
    ],
  })
  expect((await failing('UNHASHABLE_PARAMS', deferq.dispatch('misspelt', { id: 1 }))).message).toContain(
    'misspelt',
  )
  expect((await failing('UNHASHABLE_PARAMS', deferq.dispatch('throwing', {}))).message).toContain('no key')
  const all = await deferq.dispatch('nobody', { a: 1 })
  expect((await deferq.dispatch('nobody', { a: 2 })).taskId).toBe(all.taskId)
})

test('the exported fingerprint is the one that dispatches get', async () => {
  const deferq = memory().deferq()
  const { fingerprint: key } = await deferq.dispatch('x', { a: [1n] }, { scope: 's' })
  expect(fingerprint({ name: 'x', params: { a: [1n] }, scope: 's' }).key).toBe(key)
})
