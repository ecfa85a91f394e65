// Debounce, throttle, onDuplicate, onAbandoned, limits, pause, resume and drain, as their users see them.
import { expect, test } from 'vitest'
import { sleep } from '../../src/base/time.ts'
import { DeferQ, task } from '../../src/index.ts'
import { eventually, everywhere, failing, gate, memory, working, workOff } from './places.ts'

everywhere(
  'debounced: a burst runs once, with the last params, and all who asked get that result',
  async (place) => {
    const seen: number[] = []
    const index = task('index', {
      key: () => 'one',
      debounce: { wait: 300, maxWait: 1_000 },
      run: ({ at }: { at: number }) => {
        seen.push(at)
        return at
      },
    })
    const deferq = place.deferq({ tasks: [index] })
    const begun = Date.now()
    const receipts = []
    for (let at = 0; at < 10; at++) receipts.push(await deferq.dispatch('index', { at }))
    expect(new Set(receipts.map(({ taskId }) => taskId)).size).toBe(1)
    expect(receipts.map(({ outcome }) => outcome)).toEqual(['created', ...Array(9).fill('joined')])
    working(deferq)
    const results = await Promise.all(receipts.map(({ taskId }) => deferq.result(taskId)))
    expect(results).toEqual(Array(10).fill(9))
    expect(seen).toEqual([9])
    expect(Date.now() - begun).toBeGreaterThanOrEqual(300)
    const next = await deferq.dispatch('index', { at: 10 })
    expect(next.outcome, 'a result of earlier params is no answer').toBe('created')
  },
)

test('2,000 debounced calls over two seconds run once each burst, never later than first + maxWait', async () => {
  const runs: { at: number; late: number }[] = []
  let first = 0
  const deferq = memory().deferq({
    tasks: [
      task('index', {
        key: () => null,
        debounce: { wait: '1s', maxWait: '1.5s' },
        run: ({ at }: { at: number }) => void runs.push({ at, late: Date.now() - first - 1_500 }),
      }),
    ],
  })
  working(deferq, { sleep: 1_000 })
  first = Date.now()
  for (let at = 0; at < 2_000; at++) {
    await deferq.dispatch('index', { at })
    if (at % 20 === 19) await sleep(10)
    if (runs.length > 0) break
  }
  await eventually('it ran', () => runs.length > 0)
  expect(runs).toHaveLength(1)
  expect(runs[0]?.late).toBeLessThan(500)
})

everywhere('throttled: one run for a while, and a failure counts as one', async (place) => {
  let runs = 0
  const poll = task('poll', {
    resultTtl: 0,
    retries: 0,
    throttle: { every: '1h' },
    run: ({ fails }: { fails: boolean }) => {
      if (fails) throw new Error(`no ${++runs}`)
      return ++runs
    },
  })
  const deferq = place.deferq({ tasks: [poll] })
  await deferq.dispatch('poll', { fails: false })
  await deferq.dispatch('poll', { fails: true })
  await workOff(deferq)
  expect(await deferq.dispatch('poll', { fails: false })).toMatchObject({
    outcome: 'hit',
    status: 'completed',
  })
  expect(await deferq.dispatch('poll', { fails: true })).toMatchObject({
    outcome: 'negative',
    status: 'failed',
  })
  expect(await deferq.dispatch('poll', { fails: false }, { refresh: true })).toMatchObject({
    outcome: 'created',
  })
  expect(runs).toBe(2)
})

everywhere(
  'onDuplicate: reject says which run is in the way; supersede tells those who waited',
  async (place) => {
    const held = gate()
    const begun = gate()
    const build = task('build', {
      key: () => 'main',
      run: async ({ commit }: { commit: string }) => {
        begun.open()
        if (commit === 'a') await held.opened
        return commit
      },
    })
    const deferq = place.deferq({ tasks: [build] })
    const first = await deferq.dispatch('build', { commit: 'a' })
    const refused = await failing(
      'DUPLICATE',
      deferq.dispatch('build', { commit: 'b' }, { onDuplicate: { pending: 'reject' } }),
    )
    expect(refused.details).toMatchObject({ taskId: first.taskId, status: 'pending' })
    working(deferq)
    await begun.opened
    const waits = failing('TASK_CANCELLED', deferq.result(first.taskId))
    const second = await deferq.dispatch('build', { commit: 'b' }, { onDuplicate: { running: 'supersede' } })
    expect(second.outcome).toBe('created')
    const told = await waits
    expect(told.cause).toMatchObject({ code: 'SUPERSEDED', details: { by: second.taskId } })
    expect(await deferq.result(second.taskId)).toBe('b')
    held.open()
  },
)

everywhere('rerunAfter: who asks while it runs gets the result of one more run', async (place) => {
  let version = 1
  const held = gate()
  const begun = gate()
  const export_ = task('export', {
    onDuplicate: { running: 'rerunAfter' },
    run: async (_: object) => {
      const seen = version
      begun.open()
      await held.opened
      return seen
    },
  })
  const deferq = place.deferq({ tasks: [export_] })
  const first = await deferq.dispatch('export', {})
  working(deferq)
  await begun.opened
  version = 2
  const [second, third] = [await deferq.dispatch('export', {}), await deferq.dispatch('export', {})]
  expect([second.outcome, third.outcome]).toEqual(['created', 'joined'])
  expect(await deferq.getStatus(second.taskId)).toMatchObject({ status: 'pending' })
  held.open()
  expect(await Promise.all([first, second, third].map(({ taskId }) => deferq.result(taskId)))).toEqual([
    1, 2, 2,
  ])
})

test('onAbandoned: once the last who waited has gone, the run is cancelled, and not before', async () => {
  let now = 1_750_000_000_000
  const place = memory(() => now)
  const begun = gate()
  const aborted = gate()
  const render = task('render', {
    onAbandoned: { then: 'cancel', grace: '5s' },
    run: async (_: object, { signal }) => {
      begun.open()
      signal.addEventListener('abort', () => aborted.open())
      await aborted.opened
    },
  })
  const deferq = place.deferq({ tasks: [render] })
  working(deferq, { sweep: 20 })
  const [one, two] = [new AbortController(), new AbortController()]
  const waits = [one, two].map(({ signal }) => failing('ABORTED', deferq.run('render', {}, { signal })))
  const { taskId } = await deferq.dispatch('render', {})
  await begun.opened
  one.abort()
  await waits[0]
  // The other asks once a second.
  for (let second = 0; second < 8; second++) {
    now += 1_000
    await deferq.getStatus(taskId)
    await sleep(30)
  }
  expect((await deferq.list({ status: 'running' })).receipts).toHaveLength(1)
  two.abort()
  await waits[1]
  now += 6_000
  await aborted.opened
  expect(await failing('TASK_CANCELLED', deferq.getResult(taskId))).toMatchObject({
    cause: { code: 'ABANDONED' },
  })
})

test('a named callback waits for ever, so its run is kept', async () => {
  let now = 1_750_000_000_000
  const deferq = memory(() => now).deferq()
  await deferq.dispatch('a', {}, { onAbandoned: 'cancel', callback: 'tell' })
  const { taskId } = await deferq.dispatch('b', {}, { onAbandoned: 'cancel' })
  now += 11_000
  const engine = await deferq.open()
  expect((await engine.sweep(10)).abandoned).toEqual([taskId])
})

everywhere('concurrency and rate hold across workers, by a property of the params', async (place) => {
  const running: Record<string, number> = {}
  const most: Record<string, number> = {}
  const sync = task('sync', {
    resultTtl: 0,
    concurrency: { limit: 2, by: 'tenant.id' },
    rateLimit: { max: 1_000, per: '1m', by: 'tenant.id' },
    run: async ({ tenant }: { tenant: { id: string }; n: number }) => {
      running[tenant.id] = (running[tenant.id] ?? 0) + 1
      most[tenant.id] = Math.max(most[tenant.id] ?? 0, running[tenant.id] as number)
      await sleep(20)
      running[tenant.id] = (running[tenant.id] as number) - 1
    },
  })
  const [one, two] = [place.deferq({ tasks: [sync] }), place.deferq({ tasks: [sync] })]
  const items = Array.from({ length: 40 }, (_, n) => ({
    name: 'sync' as const,
    params: { tenant: { id: n < 30 ? 'a' : 'b' }, n },
  }))
  const receipts = await one.dispatchMany(items)
  expect(new Set(receipts.map(({ taskId }) => taskId.slice(0, 8))).size, 'a shard for each tenant').toBe(2)
  const works = [one, two].map((deferq) => working(deferq, { concurrency: 10 }))
  await Promise.all(receipts.map(({ taskId }) => one.result(taskId)))
  expect(most).toEqual({ a: 2, b: 2 })
  expect(works).toHaveLength(2)
  expect(await one.invalidate('sync', { tenant: { id: 'a' }, n: 0 })).toBe(0)
})

everywhere('a rate limit lets only so many begin', async (place) => {
  let begun = 0
  const call = task('call', {
    rateLimit: { max: 3, per: '1h' },
    run: ({ n }: { n: number }) => void (begun += n > 0 ? 1 : 0),
  })
  const deferq = place.deferq({ tasks: [call] })
  await deferq.dispatchMany([1, 2, 3, 4, 5].map((n) => ({ name: 'call' as const, params: { n } })))
  working(deferq)
  await eventually('three have begun', () => begun === 3)
  await sleep(200)
  expect(begun).toBe(3)
  expect((await deferq.stats()).lanes).toEqual([{ queue: 'default', name: 'call', pending: 2, running: 0 }])
})

everywhere('a paused name waits; drain returns when nothing runs, or says what still does', async (place) => {
  const held = gate()
  const begun = gate()
  let runs = 0
  const slow = task('slow', {
    run: async ({ n }: { n: number }) => {
      runs++
      begun.open()
      if (n === 1) await held.opened
    },
  })
  const deferq = place.deferq({ tasks: [slow] })
  working(deferq)
  const first = await deferq.dispatch('slow', { n: 1 })
  await begun.opened
  const late = await failing('WAIT_TIMEOUT', deferq.drain({ name: 'slow' }, { timeout: 50 }))
  expect(late.details).toEqual({ running: 1 })
  expect((await deferq.stats()).paused).toEqual([{ name: 'slow' }])
  const second = await deferq.dispatch('slow', { n: 2 })
  const drained = deferq.drain({ name: 'slow' }, { timeout: '10s' })
  held.open()
  await drained
  await deferq.result(first.taskId)
  expect(await deferq.getStatus(second.taskId)).toMatchObject({ status: 'pending' })
  expect(runs).toBe(1)
  await deferq.resume({ name: 'slow' })
  await deferq.result(second.taskId, { timeout: '10s' })
  expect((await deferq.stats()).paused).toEqual([])
})

test('what is malformed is refused where it is written, with its place', async () => {
  const run = (): void => {}
  const wrong: [object, RegExp][] = [
    [{ debounce: '5s' }, /debounce must be an object such as \{ wait: '5s'/],
    [{ debounce: { wait: '5s', maxWait: '1s' } }, /debounce\.maxWait is shorter than .*debounce\.wait/],
    [{ debounce: { wait: -1 } }, /debounce\.wait is -1, which is no duration/],
    [{ debounce: { wait: 1, max: 2 } }, /debounce has no 'max'\. Known: wait, maxWait/],
    [{ debounce: { wait: 1 }, delay: 5 }, /debounce and delay exclude each other/],
    [{ debounce: { wait: 1 }, throttle: { every: 5 } }, /debounce and throttle exclude each other/],
    [{ throttle: { every: 0 } }, /throttle\.every must be longer than 0/],
    [{ onDuplicate: { pending: 'rerunAfter' } }, /onDuplicate\.pending is 'rerunAfter': use 'join'/],
    [{ onDuplicate: 'reject' }, /onDuplicate must be an object/],
    [{ onAbandoned: 'stop' }, /onAbandoned is 'stop': use 'keep'/],
    [{ onAbandoned: { then: 'cancel', grace: '1s' } }, /onAbandoned\.grace must be at least 3 s/],
    [{ rateLimit: { max: 0, per: '1m' } }, /rateLimit\.max must be a whole number from 1/],
    [{ rateLimit: { max: 1, per: 0 } }, /rateLimit\.per must be longer than 0/],
    [{ concurrency: 5 }, /concurrency must be an object such as \{ limit: 2/],
    [{ concurrency: { limit: 1.5 } }, /concurrency\.limit must be a whole number/],
    [{ concurrency: { limit: 1, by: 3 } }, /concurrency\.by must name a property/],
    [
      { concurrency: { limit: 1, by: 'a' }, rateLimit: { max: 1, per: 1, by: 'b' } },
      /concurrency and rateLimit must go by the same/,
    ],
  ]
  for (const [options, message] of wrong) {
    const error = await failing('INVALID_OPTION', () => task('t', { run, ...options }))
    expect(error.message).toMatch(message)
    expect(error.message).toContain("task('t'): ")
  }
  const deferq = new DeferQ({ tasks: [task('t', { run, debounce: { wait: 5 } })] })
  expect((await failing('INVALID_OPTION', () => deferq.dispatch('t', {}, { delay: 5 }))).message).toMatch(
    /the task is debounced/,
  )
  for (const lanes of [{}, { queue: 'a', name: 'b' }, { queue: 3 }, undefined, 'a'])
    await failing('INVALID_OPTION', () => deferq.pause(lanes as never))
  const limited = new DeferQ({ tasks: [task('t', { run, concurrency: { limit: 1, by: 'who' } })] })
  await failing('INVALID_PARAMS', () => limited.dispatch('t', { who: ['a'] } as never))
  expect((await limited.dispatch('t', {} as never)).status).toBe('pending')
})
