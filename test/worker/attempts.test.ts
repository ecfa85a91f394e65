// How an attempt ends: time-outs, back-off, errors that decide about the next try, and results that can't be stored.
import { expect, test } from 'vitest'
import type { Backoff } from '../../src/index.ts'
import { NoRetryError, RetryAtError, task } from '../../src/index.ts'
import { eventually, everywhere, failing, listening, memory, working, workOff } from '../facade/places.ts'

everywhere('a time-out aborts the signal, frees the slot, and counts as a failed attempt', async (place) => {
  const aborted: unknown[] = []
  const deaf = task('deaf', {
    retries: 1,
    backoff: 10,
    // It hears its signal, and goes on for ever.
    run: (_: object, { signal }) => {
      signal.addEventListener('abort', () => aborted.push(signal.reason))
      return new Promise(() => {})
    },
  })
  const deferq = place.deferq({ tasks: [deaf, task('next', { run: () => 'ran' })] })
  const { taskId } = await deferq.dispatch('deaf', {}, { timeout: 60 })
  const worker = working(deferq, { concurrency: 1, sleep: 20 })
  await eventually('it runs', async () => (await deferq.getStatus(taskId)).status !== 'pending')
  // The only slot is taken by a handler that never ends.
  expect(await deferq.run('next', undefined)).toBe('ran')
  const error = await failing('TASK_FAILED', deferq.result(taskId))
  expect(error.details?.history).toHaveLength(2)
  expect(error.cause).toMatchObject({
    code: 'TASK_TIMEOUT',
    message: expect.stringMatching(/Attempt 2 of 'deaf'/),
  })
  expect(aborted).toMatchObject([{ code: 'TASK_TIMEOUT' }, { code: 'TASK_TIMEOUT' }])
  expect(await worker.stop()).toMatchObject({ retried: 1, failed: 1, completed: 1 })
})

everywhere('each attempt is given params of its own, which say what their text says', async (place) => {
  const seen: unknown[] = []
  const greedy = task('greedy', {
    ignore: ['note'],
    retries: 1,
    backoff: 1,
    run: (params: Record<string, unknown>, { attempt }) => {
      seen.push(structuredClone(params), Object.is(params.zero, -0))
      for (const name of Object.keys(params)) delete params[name]
      if (attempt === 1) throw new Error('not yet')
      return 'done'
    },
  })
  const deferq = place.deferq({
    tasks: [greedy, task('plain', { ...greedy.options, ignore: [], run: greedy.run })],
  })
  working(deferq, { concurrency: 1, sleep: 10 })
  const day = new Date(0)
  const asks = [
    // For the first one the worker may still be on its way.
    ['plain', {}],
    ['plain', {}],
    ['greedy', {}],
    ['plain', { days: [day, { set: new Set([1n]) }] }],
  ] as const
  for (const [round, [name, more]] of asks.entries()) {
    const params = {
      round,
      zero: -0,
      list: [{ deep: [1, null] }],
      note: 'n',
      10: 'ten',
      gone: undefined,
      ...more,
    }
    const asked = structuredClone(params)
    // An idle worker takes what its own process asks for at once.
    expect(await deferq.run(name, params)).toBe('done')
    expect(params).toEqual(asked)
    const { gone: _, ...read } = { ...asked, zero: 0 }
    expect(seen.splice(0)).toStrictEqual([read, false, read, false])
  }
})

test('time-outs: the dispatch’s before the task’s before the worker’s', async () => {
  const took = async (ofTask: object, ofDispatch: object, taskTimeout: string | number) => {
    const deferq = memory().deferq({
      tasks: [task('x', { retries: 0, run: () => new Promise(() => {}), ...ofTask })],
    })
    const { taskId } = await deferq.dispatch('x', undefined, ofDispatch)
    working(deferq, { taskTimeout, sleep: 5 })
    const { cause } = await failing('TASK_FAILED', deferq.result(taskId, { timeout: '10s' }))
    return (cause as { code: string }).code
  }
  expect(await took({}, {}, 10)).toBe('TASK_TIMEOUT')
  expect(await took({ timeout: 10 }, {}, '1h')).toBe('TASK_TIMEOUT')
  expect(await took({ timeout: '1h' }, { timeout: 10 }, '1h')).toBe('TASK_TIMEOUT')
})

test('a handler that throws because of its abort changes nothing about the time-out', async () => {
  const { logger, said } = listening()
  const deferq = memory().deferq({
    tasks: [
      task('fetch', {
        retries: 0,
        timeout: 20,
        run: (_: object, { signal }) =>
          new Promise((_, no) =>
            signal.addEventListener('abort', () => no(new Error('This operation was aborted'))),
          ),
      }),
    ],
    logger,
  })
  const { taskId } = await deferq.dispatch('fetch', {})
  const worker = working(deferq)
  const told: unknown[] = []
  worker.on('failed', ({ error }) => told.push(error))
  await failing('TASK_FAILED', deferq.result(taskId))
  await eventually('it was told', () => told.length === 1)
  expect(told).toMatchObject([{ code: 'TASK_TIMEOUT' }])
  expect(said(/failed for good/)[0]?.details.error).toMatchObject({ code: 'TASK_TIMEOUT' })
})

const delays = async (
  backoff: Backoff,
  attempts: number,
  where: 'task' | 'dispatch' | 'defaults' = 'task',
) => {
  const clock = { now: 1_750_000_000_000 }
  const bad = task('bad', {
    retries: attempts,
    ...(where === 'task' ? { backoff } : {}),
    run: () => {
      throw new Error('again')
    },
  })
  const deferq = memory(() => clock.now).deferq({
    tasks: [bad],
    logger: listening().logger,
    ...(where === 'defaults' ? { defaults: { backoff } } : {}),
  })
  const { taskId } = await deferq.dispatch(
    'bad',
    undefined,
    (where === 'dispatch' ? { backoff } : {}) as object,
  )
  const waits: number[] = []
  for (let at = 0; at < attempts; at++) {
    await workOff(deferq)
    const { dueAt, status } = await deferq.getStatus(taskId)
    if (status !== 'pending') throw new Error(`The run is ${status} after ${at + 1} attempts`)
    waits.push(dueAt.getTime() - clock.now)
    clock.now = dueAt.getTime() + 1
  }
  return waits
}

test('back-off: fixed, a list, exponential with jitter, a function', async () => {
  expect(await delays('2s', 3)).toEqual([2_000, 2_000, 2_000])
  expect(await delays(250, 2, 'dispatch')).toEqual([250, 250])
  expect(await delays(['1s', 50_000, '1m'], 5, 'dispatch')).toEqual([1_000, 50_000, 60_000, 60_000, 60_000])
  expect(await delays({ initial: '1s', max: '5s', jitter: 0 }, 5)).toEqual([
    1_000, 2_000, 4_000, 5_000, 5_000,
  ])
  expect(await delays({ initial: 10, factor: 10, jitter: 0 }, 4, 'dispatch')).toEqual([
    10, 100, 1_000, 10_000,
  ])
  for (const [index, wait] of (await delays({ initial: 1_000, jitter: 1 }, 4, 'defaults')).entries()) {
    expect(wait).toBeGreaterThanOrEqual(0)
    expect(wait).toBeLessThanOrEqual(1_000 * 2 ** index)
  }
  for (const [index, wait] of (await delays(undefined as never, 4)).entries()) {
    expect(wait).toBeGreaterThanOrEqual(500 * 2 ** index)
    expect(wait).toBeLessThanOrEqual(1_000 * 2 ** index)
  }
  expect(await delays((attempt, error) => `${attempt}${(error as Error).message.length}ms`, 2)).toEqual([
    15, 25,
  ])
  expect(await delays(() => '7s', 1, 'defaults')).toEqual([7_000])
})

test('a back-off function that throws, or answers nonsense, falls back to the default', async () => {
  const throwing = () => {
    throw new Error('no back-off')
  }
  for (const backoff of [throwing, () => 'soon', () => -5, () => Number.NaN] as Backoff[]) {
    const [wait] = await delays(backoff, 1)
    expect(wait).toBeGreaterThanOrEqual(500)
    expect(wait).toBeLessThanOrEqual(1_000)
  }
})

test('a time-out waits for the back-off of the dispatch, as any failure does', async () => {
  const clock = { now: 1_750_000_000_000 }
  const hangs = task('hangs', { backoff: '1h', run: () => new Promise(() => {}) })
  const deferq = memory(() => clock.now).deferq({ tasks: [hangs], logger: listening().logger })
  const { taskId } = await deferq.dispatch('hangs', undefined, { timeout: 10, backoff: '5s' })
  await workOff(deferq)
  expect((await deferq.getStatus(taskId)).dueAt.getTime() - clock.now).toBe(5_000)
})

everywhere('NoRetryError ends the run at once, whatever its retries', async (place) => {
  let runs = 0
  const hopeless = task('hopeless', {
    retries: 9,
    run: () => {
      runs++
      throw new NoRetryError('never will', { cause: new Error('the reason') })
    },
  })
  const deferq = place.deferq({ tasks: [hopeless] })
  const { taskId } = await deferq.dispatch('hopeless', undefined)
  await workOff(deferq)
  const { cause } = await failing('TASK_FAILED', deferq.getResult(taskId))
  expect(cause).toMatchObject({
    name: 'NoRetryError',
    message: 'never will',
    cause: { message: 'the reason' },
  })
  expect(runs).toBe(1)
})

test('RetryAtError says when: after a duration, or at a moment; nonsense falls back', async () => {
  const clock = { now: Date.now() }
  const ats = [1_500, '2h', new Date(clock.now + 60_000), new Date(0), new Date('x'), 'soon'] as (
    | string
    | Date
  )[]
  const later = task('later', {
    retries: 9,
    run: (index: number) => {
      throw new RetryAtError(ats[index] as string)
    },
  })
  const deferq = memory(() => clock.now).deferq({ tasks: [later], logger: listening().logger })
  const ids = await Promise.all(ats.map(async (_, index) => (await deferq.dispatch('later', index)).taskId))
  await workOff(deferq)
  const waits = await Promise.all(
    ids.map(async (id) => (await deferq.getStatus(id)).dueAt.getTime() - clock.now),
  )
  expect(waits.slice(0, 2)).toEqual([1_500, 7_200_000])
  expect(waits[2]).toBeGreaterThan(40_000)
  expect(waits[2]).toBeLessThanOrEqual(60_000)
  expect(waits[3]).toBe(0)
  for (const wait of waits.slice(4)) expect(wait).toBeLessThanOrEqual(1_000)
})

const unstorable: [string, () => unknown, string][] = [
  ['a function', () => () => 1, 'UNSTORABLE_RESULT'],
  ['an instance of a class', () => ({ deep: { at: new (class Own {})() } }), 'UNSTORABLE_RESULT'],
  ['NaN', () => Number.NaN, 'UNSTORABLE_RESULT'],
  [
    'an accessor that throws',
    () => Object.defineProperty({}, 'x', { enumerable: true, get: thrower }),
    'UNSTORABLE_RESULT',
  ],
  ['17 MB', () => 'x'.repeat(17 * 1024 * 1024), 'RESULT_TOO_LARGE'],
]

function thrower(): never {
  throw new Error('in an accessor')
}

for (const [what, make, code] of unstorable) {
  test(`a result that can’t be stored fails at once: ${what}`, async () => {
    let runs = 0
    const deferq = memory().deferq({
      tasks: [
        task('x', {
          retries: 5,
          run: () => {
            runs++
            return make()
          },
        }),
      ],
      logger: listening().logger,
    })
    const { taskId } = await deferq.dispatch('x', undefined)
    await workOff(deferq)
    const { cause } = await failing('TASK_FAILED', deferq.getResult(taskId))
    expect(cause).toMatchObject({ code, message: expect.stringMatching(/result/) })
    expect(runs).toBe(1)
  })
}

test('a handler may answer with a thenable, a promise of a promise, or nothing', async () => {
  const thenable = (
    settle: (resolve: (value: unknown) => void, reject: (error: unknown) => void) => void,
  ) => ({
    then: settle,
  })
  const answers: Record<string, () => unknown> = {
    thenable: () => thenable((resolve) => setTimeout(resolve, 5, 'later')),
    nested: () => Promise.resolve(thenable((resolve) => resolve(thenable((inner) => inner('deep'))))),
    rejecting: () => thenable((_, reject) => reject(new Error('from a thenable'))),
    throwing: () => thenable(thrower),
    accessor: () => Object.defineProperty({}, 'then', { get: thrower }),
    never: () => thenable(() => {}),
    nothing: () => {},
  }
  const odd = task('odd', { retries: 0, timeout: 100, run: (name: string) => answers[name]?.() })
  const deferq = memory().deferq({ tasks: [odd], logger: listening().logger })
  const ends = Object.keys(answers).map((name) =>
    deferq.run('odd', name).catch((error) => error.cause.message),
  )
  working(deferq)
  expect(await Promise.all(ends)).toEqual([
    'later',
    'deep',
    'from a thenable',
    'in an accessor',
    'in an accessor',
    expect.stringMatching(/longer than its timeout/),
    undefined,
  ])
})
