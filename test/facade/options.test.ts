// Options: which of dispatch, task and defaults wins, and that each malformed one is refused by its name.
import { describe, expect, test } from 'vitest'
import { DeferQ, task, Worker } from '../../src/index.ts'
import { breakable, failing, memory, SILENT, workOff } from './places.ts'

const run = (): number => 1
type Sent = { policy: object; queue: string; priority: number; delayMs: number; extra?: string }

/** The draft that a dispatch sends. */
async function sent(levels: { defaults?: object; task?: object; dispatch?: object }): Promise<Sent> {
  const { engine, calls } = breakable()
  const deferq = new DeferQ({
    engine,
    logger: SILENT,
    defaults: levels.defaults ?? {},
    tasks: [task('x', { run, ...levels.task })],
  })
  await deferq.dispatch('x', undefined, levels.dispatch ?? {})
  await deferq.close()
  const [[drafts] = []] = calls.admit ?? []
  return (drafts as Sent[])[0] as Sent
}

test('what nobody says is an hour, three attempts, now, in the queue "default"', async () => {
  expect(await sent({})).toMatchObject({
    queue: 'default',
    priority: 0,
    delayMs: 0,
    policy: {
      maxAttempts: 3,
      resultTtlMs: 3_600_000,
      staleTtlMs: 0,
      failureTtlMs: 0,
      retentionMs: 3_600_000,
    },
  })
})

describe('the nearest wins', () => {
  const of = {
    resultTtl: (draft: Sent) => (draft.policy as { resultTtlMs: number }).resultTtlMs,
    staleTtl: (draft: Sent) => (draft.policy as { staleTtlMs: number }).staleTtlMs,
    failureTtl: (draft: Sent) => (draft.policy as { failureTtlMs: number }).failureTtlMs,
    retention: (draft: Sent) => (draft.policy as { retentionMs: number }).retentionMs,
    retries: (draft: Sent) => (draft.policy as { maxAttempts: number }).maxAttempts - 1,
    priority: (draft: Sent) => draft.priority,
    queue: (draft: Sent) => draft.queue,
    delay: (draft: Sent) => draft.delayMs,
  }
  for (const [option, read] of Object.entries(of)) {
    test(option, async () => {
      const [far, near, nearest] =
        option === 'queue'
          ? ['far', 'near', 'nearest']
          : option === 'priority'
            ? [3, 2, 0]
            : [30_000, 20_000, 10_000]
      const value = (each: unknown) => (option === 'retries' ? (each as number) / 10_000 : each)
      const levels = {
        defaults: { [option]: value(far) },
        task: { [option]: value(near) },
        dispatch: { [option]: value(nearest) },
      }
      expect(read(await sent(levels))).toBe(value(nearest))
      expect(read(await sent({ ...levels, dispatch: { [option]: undefined } }))).toBe(value(near))
      expect(read(await sent({ defaults: levels.defaults, task: { [option]: undefined } }))).toBe(value(far))
    })
  }
})

test('timeout, backoff and onMismatch: the nearest wins as well', async () => {
  const attempts = async (defaults: object, ofTask: object, ofDispatch: object) => {
    const started = performance.now()
    const slow = task('slow', { run: () => new Promise(() => {}), retries: 1, ...ofTask })
    const deferq = memory().deferq({ tasks: [slow], defaults })
    const { taskId } = await deferq.dispatch('slow', {}, ofDispatch)
    const worker = new Worker(deferq, { sleep: 5, taskTimeout: '1h' })
    const ran = worker.run()
    const error = await failing('TASK_FAILED', deferq.result(taskId, { timeout: '10s' }))
    await worker.stop()
    await ran
    expect(error.cause).toMatchObject({ code: 'TASK_TIMEOUT' })
    return performance.now() - started
  }
  const never = { timeout: '1h', backoff: '1h' }
  const soon = { timeout: 5, backoff: 5 }
  for (const levels of [
    [soon, {}, {}],
    [never, soon, {}],
    [never, never, soon],
  ] as [object, object, object][]) {
    expect(await attempts(...levels)).toBeLessThan(9_000)
  }

  const refusing = memory().deferq({
    tasks: [task('a', { ignore: ['b'], run }), task('c', { ignore: ['b'], onMismatch: 'join', run })],
    defaults: { onMismatch: 'reject' },
  })
  for (const name of ['a', 'c'] as const) await refusing.dispatch(name, { b: 1 } as never)
  await failing('PARAMS_MISMATCH', refusing.dispatch('a', { b: 2 } as never))
  expect((await refusing.dispatch('a', { b: 2 } as never, { onMismatch: 'join' })).sameParams).toBe(false)
  expect((await refusing.dispatch('c', { b: 2 } as never)).sameParams).toBe(false)
})

test('runAt: a Date, milliseconds or ISO text; what is past is due now', async () => {
  const deferq = memory().deferq()
  const at = Date.now() + 60_000
  for (const runAt of [new Date(at), at, new Date(at).toISOString()]) {
    expect((await deferq.dispatch('x', { runAt: String(runAt) }, { runAt })).dueAt).toEqual(new Date(at))
  }
  const past = await deferq.dispatch('past', {}, { runAt: 0 })
  expect(past.dueAt).toEqual(past.createdAt)
})

const EVERYWHERE: Record<string, unknown[]> = {
  resultTtl: ['1', '1 hour', -1, Number.NaN, null, '200y', {}],
  staleTtl: ['x', -1],
  failureTtl: ['x', -1],
  retention: ['x', Number.POSITIVE_INFINITY],
  priority: [101, -101, 1.5, '1', null],
  queue: ['', 'a\nb', 5, 'x'.repeat(201), null],
  retries: [-1, 1.5, 10_001, '1'],
  backoff: [
    'x',
    -1,
    ['1s', 'x'],
    {},
    { initial: 'x' },
    { initial: 1, factor: 0 },
    { initial: 1, jitter: 2 },
    null,
  ],
  timeout: [0, 'x', -1],
  delay: ['x', -1],
  onMismatch: ['refuse', true],
}
const OF_A_TASK = {
  key: ['id', null],
  ignore: ['trace', [5], ['']],
  scope: ['tenant', false],
  version: [{}, null, Number.NaN],
}
const OF_A_DISPATCH = {
  runAt: ['tomorrow', '2026-01-31', Number.NaN, new Date('x'), null],
  refresh: ['yes', 1],
  idempotencyKey: ['', 5, 'x'.repeat(513), null],
  scope: [Number.NaN, {}, null],
  callback: [null, 5, [5], { run: 5 }, { run, on: 'sucess' }, { name: 'x', on: 'sucess' }, [[run]]],
  signal: ['x', {}, null],
  wait: ['1s'],
  resultTTL: ['1h'],
}

describe('a malformed option is refused by its name', () => {
  const deferq = () => memory().deferq({ tasks: [task('x', { run })] })
  const named = (option: string) =>
    expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(option) })

  for (const [option, values] of Object.entries({
    ...EVERYWHERE,
    ...OF_A_TASK,
    runAt: ['2026-01-31T08:00:00Z'],
  })) {
    test(`task: ${option}`, () => {
      for (const value of values) expect(() => task('x', { run, [option]: value })).toThrow(named(option))
    })
  }
  for (const [option, values] of Object.entries({ ...EVERYWHERE, key: [run], scope: [true] })) {
    test(`defaults: ${option}`, () => {
      for (const value of values)
        expect(() => new DeferQ({ defaults: { [option]: value } })).toThrow(named(option))
    })
  }
  for (const [option, values] of Object.entries({
    ...EVERYWHERE,
    ...OF_A_DISPATCH,
    backoff: [...(EVERYWHERE.backoff as unknown[]), run],
  })) {
    test(`dispatch: ${option}`, async () => {
      const to = deferq()
      for (const value of values) {
        const options = { [option]: value } as never
        expect((await failing('INVALID_OPTION', to.dispatch('x', undefined, options))).message).toContain(
          option,
        )
        await failing('INVALID_OPTION', to.dispatchMany([{ name: 'x', params: undefined, options }]))
      }
      expect((await to.stats()).totals).toEqual({})
    })
  }

  test('run: wait, before anything is dispatched', async () => {
    const to = deferq()
    const error = await failing('INVALID_OPTION', to.run('x', undefined, { wait: 'long' }))
    expect(error.message).toContain("run('x'): wait")
    expect((await to.stats()).totals).toEqual({})
  })

  test('result: timeout, signal', async () => {
    const to = deferq()
    const { taskId } = await to.dispatch('x', undefined)
    expect((await failing('INVALID_OPTION', to.result(taskId, { timeout: 'x' }))).message).toContain(
      'timeout',
    )
    const signal = { signal: 'x' } as never
    expect((await failing('INVALID_OPTION', to.result(taskId, signal))).message).toContain('signal')
  })

  test('list: limit', async () => {
    for (const limit of [0, -1, 1.5, 1_001, '5']) {
      expect((await failing('INVALID_OPTION', deferq().list({ limit: limit as number }))).message).toContain(
        'limit',
      )
    }
  })

  test('options that are none at all', async () => {
    for (const options of [null, 5, 'x']) {
      await failing('INVALID_OPTION', deferq().dispatch('x', undefined, options as never))
      expect(() => new DeferQ(options as never)).toThrow(named('new DeferQ()'))
      expect(() => task('x', options as never)).toThrow(named("task('x')"))
    }
  })

  const given: [string, object][] = [
    ['tasks', { tasks: task('x', { run }) }],
    ['tasks[1]', { tasks: [task('x', { run }), { name: 5 }] }],
    ["two tasks called 'x'", { tasks: [task('x', { run }), task('x', { run })] }],
    ['limits', { limits: 5 }],
    ['limits.depth', { limits: { depth: 'deep' } }],
    ['limits.bytes', { limits: { bytes: Number.NaN } }],
    ["'deep'", { limits: { deep: 5 } }],
    ['logger', { logger: {} }],
    ['debug', { logger: { info: run, warn: run, error: run } }],
    ['either url or engine', { url: 'memory:', engine: breakable().engine }],
    ["'urls'", { urls: 'memory:' }],
  ]
  for (const [says, options] of given) {
    test(`new DeferQ: ${says}`, () => expect(() => new DeferQ(options as never)).toThrow(named(says)))
  }

  const ofWorkers: Record<string, unknown[]> = {
    concurrency: [0, 1_001, 1.5, '5'],
    queues: [[], 'default', [''], [5]],
    names: [[], 'x'],
    sleep: ['x', -1],
    maxJobs: [-1, 1.5],
    maxMemory: [-1, Number.NaN, 'x'],
    maxRuntime: ['x'],
    taskTimeout: ['x'],
    lease: ['x', 50],
    sweep: ['x'],
    grace: ['x'],
    logger: [{}, 5],
    concurrenzy: [5],
  }
  for (const [option, values] of Object.entries(ofWorkers)) {
    test(`new Worker: ${option}`, () => {
      for (const value of values)
        expect(() => new Worker(deferq(), { [option]: value })).toThrow(named(option))
    })
  }

  test('a name of a task', () => {
    for (const name of ['', 'a\u0000b', 'x'.repeat(201), 5, undefined, '\ud800']) {
      expect(() => task(name as string, { run })).toThrow(named('name of a task'))
    }
    expect(() => task('x', { run: 5 as never })).toThrow(named('run'))
    expect(task('bericht ü 🎉', { run }).name).toBe('bericht ü 🎉')
  })
})

test('a worker needs handlers, and names only those it has', async () => {
  expect(() => new Worker(memory().deferq())).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
  expect(() => new Worker(memory().deferq({ tasks: [task('x', {})] }))).toThrow(
    /none of the tasks has a handler/,
  )
  const deferq = memory().deferq({ tasks: [task('x', { run }), task('y', {})] })
  for (const name of ['y', 'z']) {
    expect(() => new Worker(deferq, { names: [name] })).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_TASK' }),
    )
  }
  expect((await workOff(deferq, { names: ['x'] })).reason).toBe('empty')
})

test('a url that names no engine, or an empty one, is refused at once', async () => {
  for (const url of ['', '  ', 'localhost:6379', 'mongodb://user:secret@host', 'redis', null, 5]) {
    expect(() => new DeferQ({ url: url as string })).toThrow(
      expect.objectContaining({ code: 'INVALID_URL', message: expect.not.stringContaining('secret') }),
    )
  }
  expect(() => new DeferQ({ url: '' })).toThrow(/environment variable/)
  for (const url of [undefined, 'memory:', 'MEMORY:']) {
    const deferq = new DeferQ({ ...(url === undefined ? {} : { url }), logger: SILENT })
    expect((await deferq.dispatch('x', {})).outcome).toBe('created')
    await deferq.close()
  }
})
