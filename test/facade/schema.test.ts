// Params against a schema: what is hashed, what is stored, what the handler gets, and what is refused where.
import { expect, test } from 'vitest'
import { z } from 'zod'
import type { StandardSchema } from '../../src/index.ts'
import { DeferQ, task } from '../../src/index.ts'
import { everywhere, failing, memory, SILENT, workOff } from './places.ts'

everywhere('the validated value is what is hashed and what the handler gets', async (place) => {
  const seen: unknown[] = []
  const report = task('report', {
    schema: z.object({
      year: z.coerce.number().int(),
      format: z.enum(['pdf', 'csv']).default('pdf'),
      at: z.iso.datetime().transform((text) => new Date(text)),
    }),
    run: (params) => {
      seen.push(params)
      return params.at.getTime()
    },
  })
  const deferq = place.deferq({ tasks: [report] })
  const at = '2026-01-31T08:00:00Z'
  const first = await deferq.dispatch('report', { year: '2024', at })
  const second = await deferq.dispatch('report', { year: 2024, format: 'pdf', at })
  expect(second).toMatchObject({ outcome: 'joined', taskId: first.taskId, sameParams: true })
  await workOff(deferq)
  // The worker validates what the caller gave: a transform is applied once to it, not twice.
  expect(seen).toEqual([{ year: 2024, format: 'pdf', at: new Date(at) }])
  expect(await deferq.getResult(first.taskId)).toBe(Date.parse(at))
  expect(await deferq.invalidate('report', { year: 2024, at })).toBe(1)
})

test('an asynchronous schema does the same', async () => {
  const place = memory()
  const known = task('known', {
    schema: z.object({
      id: z
        .string()
        .refine(async (id) => id !== 'nobody', 'is not known')
        .transform(async (id) => id.toLowerCase()),
    }),
    run: ({ id }) => id,
  })
  const deferq = place.deferq({ tasks: [known] })
  const [a, b] = await Promise.all([
    deferq.dispatch('known', { id: 'ANN' }),
    deferq.dispatch('known', { id: 'ann' }),
  ])
  expect(b.taskId).toBe(a.taskId)
  await workOff(deferq)
  expect(await deferq.run('known', { id: 'Ann' })).toBe('ann')
  const refused = await failing('INVALID_PARAMS', deferq.dispatch('known', { id: 'nobody' }))
  expect(refused.message).toBe("dispatch('known'): params.id: is not known")
  expect(await deferq.invalidate('known', { id: 'aNN' })).toBe(1)
})

test('what does not validate is refused with every path, and nothing is dispatched', async () => {
  const order = task('order', {
    schema: z.object({ lines: z.array(z.object({ count: z.number().positive() })), to: z.string() }),
    run: () => 1,
  })
  const deferq = memory().deferq({ tasks: [order] })
  const wrong = { lines: [{ count: 1 }, { count: -1 }], to: 5 } as never
  const refused = await failing('INVALID_PARAMS', deferq.dispatch('order', wrong))
  expect(((refused.details?.issues ?? []) as { path: string }[]).map(({ path }) => path)).toEqual([
    'params.lines.1.count',
    'params.to',
  ])
  expect(refused.message).toContain("dispatch('order')")
  expect(refused.message).toContain('params.lines.1.count: ')
  await failing('INVALID_PARAMS', deferq.run('order', wrong))
  const many = await failing(
    'INVALID_PARAMS',
    deferq.dispatchMany([
      { name: 'order', params: { lines: [], to: 'x' } },
      { name: 'order', params: wrong },
    ]),
  )
  expect(many.message).toContain('dispatchMany()[1]')
  expect((await deferq.stats()).totals).toEqual({})
})

test('the worker validates again, and what its schema refuses fails at once', async () => {
  const place = memory()
  const old = place.deferq({ tasks: [task('grow', { run: (_: { size: string }) => 1 })] })
  const { taskId } = await old.dispatch('grow', { size: 'big' })
  let ran = false
  const grow = task('grow', {
    schema: z.object({ size: z.number() }),
    run: () => {
      ran = true
    },
  })
  const newer = place.deferq({ tasks: [grow] })
  await workOff(newer)
  const { status, attempt, error } = await old.getStatus(taskId)
  expect({ status, attempt, ran }).toEqual({ status: 'failed', attempt: 1, ran: false })
  expect(error?.cause).toMatchObject({
    code: 'INVALID_PARAMS',
    message: expect.stringMatching(/params\.size/),
  })
})

test('any Standard Schema will do: key objects in paths, thenables that are no Promise, and one that throws', async () => {
  const of = (validate: (value: unknown) => unknown): StandardSchema =>
    ({ '~standard': { version: 1, vendor: 'own', validate } }) as StandardSchema
  const thenable = (value: unknown) => ({
    then: (resolve: (value: unknown) => void) => resolve({ value }),
  })
  const deferq = memory().deferq({
    tasks: [
      task('keys', {
        schema: of(() => ({
          issues: [{ message: 'bad', path: [{ key: 'a' }, 0, Symbol('s')] }, { message: 'all' }],
        })),
      }),
      task('later', { schema: of((value) => thenable(`${value}!`)), run: (value) => value }),
      task('throws', {
        schema: of(() => {
          throw new RangeError('broken schema')
        }),
      }),
    ],
  })
  const refused = await failing('INVALID_PARAMS', deferq.dispatch('keys', {}))
  expect(refused.message).toBe("dispatch('keys'): params.a.0.Symbol(s): bad; params: all")
  const { taskId } = await deferq.dispatch('later', 'x')
  await workOff(deferq, { names: ['later'] })
  expect(await deferq.getResult(taskId)).toBe('x!')
  await expect(deferq.dispatch('throws', {})).rejects.toThrow(new RangeError('broken schema'))
})

test('the key is made of the validated params too', async () => {
  const deferq = memory().deferq({
    tasks: [
      task('keyed', {
        schema: z.object({ id: z.string().trim(), note: z.string() }),
        key: ({ id }) => id,
        run: ({ id }) => id,
      }),
    ],
  })
  const first = await deferq.dispatch('keyed', { id: ' a ', note: '1' })
  const second = await deferq.dispatch('keyed', { id: 'a', note: '2' })
  expect(second).toMatchObject({ outcome: 'joined', taskId: first.taskId, sameParams: false })
})

test('what is no schema is refused where it is written', () => {
  for (const schema of [5, null, {}, { '~standard': {} }, z.string]) {
    expect(() => task('x', { schema: schema as never })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringMatching(/schema/) }),
    )
  }
  expect(() => new DeferQ({ tasks: [task('x', { schema: z.string() })], logger: SILENT })).not.toThrow()
})
