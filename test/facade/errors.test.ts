// Errors across the store: name, code, message, stack, causes and the history of attempts, as another process finds them.
import { expect, test } from 'vitest'
import { DeferqError, isDeferqError, NoRetryError, task } from '../../src/index.ts'
import { eventually, everywhere, failing, memory, working, workOff } from './places.ts'

class QuotaError extends Error {
  override name = 'QuotaError'
  code = 'E_QUOTA'
}

everywhere(
  'whoever asks gets what the handler threw: name, code, message, stack and causes',
  async (place) => {
    const deferq = place.deferq({
      tasks: [
        task('quota', {
          retries: 0,
          run: () => {
            const cause = new RangeError('too much', { cause: new Error('the root: ü \u0000 "quoted"\n') })
            throw new QuotaError('over the limit', { cause })
          },
        }),
      ],
    })
    const asking = place.deferq()
    const { taskId } = await deferq.dispatch('quota', {})
    const waiting = failing('TASK_FAILED', asking.result(taskId))
    await workOff(deferq)
    for (const error of [
      await waiting,
      await failing('TASK_FAILED', asking.getResult(taskId)),
      (await asking.getStatus(taskId)).error as DeferqError,
    ]) {
      expect(error.message).toBe("The task 'quota' failed after 1 attempt: over the limit")
      expect(error.details).toMatchObject({ taskId, name: 'quota', attempts: 1 })
      const cause = error.cause as QuotaError & { cause: Error & { cause: Error } }
      expect(cause).toBeInstanceOf(Error)
      expect(cause).toMatchObject({ name: 'QuotaError', code: 'E_QUOTA', message: 'over the limit' })
      expect(cause.stack).toContain('errors.test.ts')
      expect(cause.cause).toMatchObject({ name: 'RangeError', message: 'too much' })
      expect(cause.cause.cause.message).toBe('the root: ü \u0000 "quoted"\n')
      expect(String(cause)).toBe('QuotaError: over the limit')
    }
  },
)

everywhere('the history has every failed attempt, oldest first, and at most the last ten', async (place) => {
  const deferq = place.deferq({
    tasks: [
      task('flaky', {
        retries: 12,
        backoff: 1,
        run: (_: object, { attempt }) => {
          throw new Error(`no. ${attempt}`)
        },
      }),
    ],
  })
  const { taskId } = await deferq.dispatch('flaky', {})
  working(deferq, { sleep: 5 })
  const error = await failing('TASK_FAILED', deferq.result(taskId))
  const { history, attempt } = await deferq.getStatus(taskId)
  expect(attempt).toBe(13)
  expect(history.map((each) => each.attempt)).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12, 13])
  expect(history.at(-1)?.error.message).toBe('no. 13')
  expect(history.every(({ at }) => Math.abs(at.getTime() - Date.now()) < 60_000)).toBe(true)
  expect(error.message).toBe("The task 'flaky' failed after 13 attempts: no. 13")
})

test('deferq’s own errors come back as such, with code and details', async () => {
  const place = memory()
  const deferq = place.deferq({
    tasks: [
      task('inner', {
        retries: 0,
        run: () => {
          throw new NoRetryError('inner trouble')
        },
      }),
      task('outer', { retries: 0, run: () => deferq2.run('inner', {}) }),
    ],
  })
  const deferq2 = place.deferq()
  const { taskId } = await deferq.dispatch('outer', {})
  working(deferq)
  const error = await failing('TASK_FAILED', deferq.result(taskId))
  expect(error.cause).toBeInstanceOf(DeferqError)
  expect(isDeferqError(error.cause, 'TASK_FAILED')).toBe(true)
  expect(error.cause).toMatchObject({
    details: { name: 'inner', attempts: 1 },
    cause: { name: 'NoRetryError' },
  })
})

test('errors in errors in errors do not grow without bound', async () => {
  const place = memory()
  const depth = 6
  const nested = task('nested', {
    retries: 4,
    backoff: 0,
    run: async (level: number): Promise<unknown> => {
      if (level === depth) throw new Error('x'.repeat(20_000))
      return asking.run('nested', level + 1)
    },
  })
  const deferq = place.deferq({ tasks: [nested] })
  const asking = place.deferq()
  const { taskId } = await deferq.dispatch('nested', 0, { retries: 1 })
  working(deferq, { sleep: 5, concurrency: 50 })
  const error = await failing('TASK_FAILED', deferq.result(taskId, { timeout: '15s' }))
  expect(JSON.stringify(error).length).toBeLessThan(200_000)
}, 30_000)

const hostile: [string, () => unknown, RegExp][] = [
  ['undefined', () => undefined, /^undefined$/],
  ['null', () => null, /^null$/],
  ['a text', () => 'just a text', /^just a text$/],
  ['a number', () => 42, /^42$/],
  ['a symbol', () => Symbol('s'), /Symbol\(s\)/],
  ['a function', () => () => 1, /=>/],
  ['a bigint', () => 5n, /bigint/],
  ['a plain object', () => ({ status: 503 }), /503/],
  [
    'an object with a message',
    () => ({ name: 'Own', message: 'shaped like an error' }),
    /shaped like an error/,
  ],
  ['a frozen error', () => Object.freeze(new Error('frozen')), /frozen/],
  ['a frozen object', () => Object.freeze({ a: 1 }), /"a":1/],
  ['an object with no prototype', () => Object.create(null), /\{\}/],
  ['a cyclic object', () => Object.assign([], { 0: globalThis }), /thrown object/],
  [
    'an error that contains itself',
    () => {
      const error = new Error('snake') as Error & { cause: unknown }
      error.cause = error
      return error
    },
    /snake/,
  ],
  [
    'an error whose message throws',
    () => Object.defineProperty(new Error('x'), 'message', { get: boom }),
    /can’t be read/,
  ],
  [
    'an error whose name is an object',
    () => Object.assign(new Error('named'), { name: { toString: boom } }),
    /can’t be read/,
  ],
  ['a deferq error with details that are no JSON', () => withDetails(), /details/],
  [
    'a Proxy that throws whatever it is asked',
    () => new Proxy({}, { get: boom, has: boom, getPrototypeOf: boom }),
    /can’t be read/,
  ],
  ['a rejected promise', () => Promise.reject(new Error('inside')).catch((error) => error), /\{\}/],
  ['an AggregateError', () => new AggregateError([new Error('one'), new Error('two')], 'several'), /several/],
]

function boom(): never {
  throw new Error('boom')
}

function withDetails(): DeferqError {
  const details: Record<string, unknown> = { big: 5n, kept: 'yes' }
  details.self = details
  return new DeferqError('INVALID_OPTION', 'with details', { details })
}

for (const [what, make, says] of hostile) {
  test(`a handler may throw anything: ${what}`, async () => {
    const thrown = task('throws', {
      retries: 1,
      backoff: 0,
      run: (how: 'now' | 'later') => {
        if (how === 'later') return Promise.reject(make())
        throw make()
      },
    })
    const deferq = memory().deferq({ tasks: [thrown] })
    const ids = [await deferq.dispatch('throws', 'now'), await deferq.dispatch('throws', 'later')]
    const worker = working(deferq)
    const told: unknown[] = []
    worker.on('failed', ({ error }) => told.push(error))
    for (const { taskId } of ids) {
      const error = await failing('TASK_FAILED', deferq.result(taskId, { timeout: '10s' }))
      expect((error.cause as Error).message).toMatch(says)
      expect(error.details?.history).toHaveLength(2)
    }
    await eventually('both were told', () => told.length === 2)
    // The worker is as good as new.
    expect(await worker.stop()).toMatchObject({ failed: 2, retried: 2 })
  })
}

test('a very long message and stack are cut', async () => {
  const deferq = memory().deferq({
    tasks: [
      task('long', {
        retries: 0,
        run: () => {
          throw new Error('ü'.repeat(1_000_000))
        },
      }),
    ],
  })
  const { taskId } = await deferq.dispatch('long', {})
  await eventually('it has failed', async () => {
    await workOff(deferq)
    return (await deferq.getStatus(taskId)).status === 'failed'
  })
  const { cause } = await failing('TASK_FAILED', deferq.getResult(taskId))
  expect((cause as Error).message).toMatch(/… \(996000 more characters\)$/)
})
