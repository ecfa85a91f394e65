// What the compiler infers from a list of tasks, and what it refuses: checked by tsc, run for form's sake.
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { Context, Dispatched, Receipt, RequestResult } from '../../src/index.ts'
import { DeferQ, task, Worker } from '../../src/index.ts'
import { httpRequest } from '../../src/requests/index.ts'

const report = task('report', {
  resultTtl: '1h',
  run: async ({ year }: { year: number; format?: 'pdf' | 'csv' }, context) => {
    expectTypeOf(context).toEqualTypeOf<Context>()
    return { url: `/${year}`, rows: 5 }
  },
})
const mail = task('mail', {
  schema: z.object({ to: z.string(), at: z.coerce.date(), copies: z.number().default(1) }),
  key: (params) => {
    expectTypeOf(params).toEqualTypeOf<{ to: string; at: Date; copies: number }>()
    return params.to
  },
  run: (params) => {
    expectTypeOf(params).toEqualTypeOf<{ to: string; at: Date; copies: number }>()
    return params.copies
  },
})
const tenant = task('tenant', { scope: true, run: (_: { id: number }): string | null => null })
const declared = task('declared', { schema: z.string() })

const deferq = new DeferQ({ tasks: [report, mail, tenant, declared] })
// Never called: only its types are of interest.
const never = async (body: () => Promise<unknown>): Promise<void> => void body

test('params and result come from the handler', () =>
  never(async () => {
    const receipt = await deferq.dispatch('report', { year: 2024, format: 'pdf' })
    expectTypeOf(receipt).toEqualTypeOf<Dispatched<{ url: string; rows: number }>>()
    expectTypeOf(receipt.outcome).toEqualTypeOf<'created' | 'joined' | 'hit' | 'stale' | 'negative'>()
    if (receipt.status === 'completed') expectTypeOf(receipt.result.rows).toEqualTypeOf<number>()
    // @ts-expect-error the result may not be there yet
    receipt.result.rows
    expectTypeOf(await deferq.run('report', { year: 2024 })).toEqualTypeOf<{ url: string; rows: number }>()
    // @ts-expect-error params are wanted
    await deferq.dispatch('report')
    // @ts-expect-error a property is missing
    await deferq.dispatch('report', {})
    // @ts-expect-error a property is of another type
    await deferq.dispatch('report', { year: '2024' })
    // @ts-expect-error a property is unknown
    await deferq.dispatch('report', { year: 2024, formatt: 'pdf' })
    // @ts-expect-error no such option
    await deferq.dispatch('report', { year: 2024 }, { resultTTL: '1h' })
    await deferq.run(
      'report',
      { year: 2024 },
      { wait: '5s', resultTtl: 5, signal: new AbortController().signal },
    )
    // @ts-expect-error only run waits
    await deferq.dispatch('report', { year: 2024 }, { wait: '5s' })
  }))

test('a schema’s input is asked for, its output handed to the handler', () =>
  never(async () => {
    expectTypeOf(await deferq.run('mail', { to: 'x', at: 'tomorrow' })).toEqualTypeOf<number>()
    await deferq.dispatch('mail', { to: 'x', at: 5, copies: 2 })
    // @ts-expect-error the schema wants a text
    await deferq.dispatch('mail', { to: 5, at: 5 })
    await deferq.dispatch('declared', 'text')
    // @ts-expect-error the schema wants a text
    await deferq.dispatch('declared', 5)
  }))

test('a declared scope is wanted in every call', () =>
  never(async () => {
    expectTypeOf(await deferq.run('tenant', { id: 1 }, { scope: 'a' })).toEqualTypeOf<string | null>()
    await deferq.dispatch('tenant', { id: 1 }, { scope: 5, priority: 3 })
    // @ts-expect-error no options
    await deferq.dispatch('tenant', { id: 1 })
    // @ts-expect-error no scope
    await deferq.dispatch('tenant', { id: 1 }, { priority: 3 })
    // @ts-expect-error no scope
    await deferq.run('tenant', { id: 1 })
    await deferq.dispatch('report', { year: 1 }, { scope: 'elsewhere it may be given' })
    // @ts-expect-error a scope is declared by true alone
    task('x', { scope: 'tenant', run: () => 1 })
  }))

test('a name that is not in the list is refused', () =>
  never(async () => {
    // @ts-expect-error no such task
    await deferq.dispatch('raport', { year: 2024 })
    // @ts-expect-error no such task
    await deferq.run('raport', { year: 2024 })
    await deferq.invalidate('report', { year: 2024 })
    await deferq.invalidate('report')
    await deferq.invalidate('0123abcd')
    // @ts-expect-error of other params there is no result
    await deferq.invalidate('report', { yeer: 2024 })
  }))

test('many at once: each item is typed by its name', () =>
  never(async () => {
    const receipts = await deferq.dispatchMany([
      { name: 'report', params: { year: 2024 } },
      { name: 'mail', params: { to: 'x', at: 5 }, options: { priority: 1 } },
      { name: 'tenant', params: { id: 1 }, options: { scope: 'a' } },
    ])
    expectTypeOf(receipts).toEqualTypeOf<Dispatched[]>()
    // @ts-expect-error the params of another task
    await deferq.dispatchMany([{ name: 'report', params: { to: 'x' } }])
    // @ts-expect-error no such task
    await deferq.dispatchMany([{ name: 'raport', params: {} }])
  }))

test('without a list of tasks any name and any params will do', () =>
  never(async () => {
    const open = new DeferQ({ url: 'memory:' })
    await open.dispatch('anything', { at: 'all' })
    await open.dispatch('anything', [1], { priority: 3, scope: 'x' })
    await open.run('anything', null, { wait: '1s' })
    await open.invalidate('anything', { at: 'all' })
    await open.dispatchMany([{ name: 'anything', params: 5 }])
    const name: string = 'from elsewhere'
    await open.dispatch(name, {})
    new Worker(open)
    new Worker(deferq)
    const list = [report, mail] as (typeof report | typeof mail)[]
    await new DeferQ({ tasks: list }).dispatch('report', { year: 2024 })
  }))

test('callbacks and waits know the result', () =>
  never(async () => {
    await deferq.dispatch(
      'report',
      { year: 2024 },
      {
        callback: [
          (receipt) => expectTypeOf(receipt).toEqualTypeOf<Receipt<{ url: string; rows: number }>>(),
          'mail',
          { name: 'mail', params: { to: 'x' }, on: 'both' },
          { run: (receipt) => receipt.taskId, on: 'failure' },
        ],
      },
    )
    expectTypeOf(await deferq.result<number>('id', { timeout: '1s' })).toEqualTypeOf<number>()
    expectTypeOf(await deferq.getResult('id')).toEqualTypeOf<unknown>()
    expectTypeOf(await deferq.getStatus<number>('id')).toEqualTypeOf<Receipt<number>>()
    // @ts-expect-error no such moment
    await deferq.dispatch('report', { year: 2024 }, { callback: { run: () => 1, on: 'sucess' } })
  }))

test('outgoing requests are typed, as a method and as a task', () =>
  never(async () => {
    expectTypeOf(await deferq.request({ url: 'https://a.example' })).toEqualTypeOf<
      Dispatched<RequestResult>
    >()
    const sending = new DeferQ({ tasks: [report, httpRequest()] })
    expectTypeOf(
      await sending.run('http.request', { url: 'https://a.example' }),
    ).toEqualTypeOf<RequestResult>()
    await sending.dispatch(
      'report',
      { year: 1 },
      { callback: ['https://a.example', { url: 'https://b.example', on: 'failure' }] },
    )
    // @ts-expect-error the url is missing
    await sending.dispatch('http.request', { method: 'GET' })
    // @ts-expect-error no such method
    await deferq.request({ url: 'https://a.example', method: 'CONNECT' })
    // @ts-expect-error a function can't travel
    await deferq.request({ url: 'https://a.example', attemptInterval: () => 5 })
  }))
