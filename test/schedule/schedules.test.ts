// Schedules by the store's clock: what a tick makes of the time that has passed, and of changes that come in between.
import { expect, test } from 'vitest'
import { DeferQ, task } from '../../src/index.ts'
import { failing } from '../facade/places.ts'
import type { Stage } from './scene.ts'
import { begin, end, onEachStage } from './scene.ts'

const job = task('job', { run: (_: { n: number }) => 'done' })
/** After its first look something else happens, before it goes on with what it has seen. */
function overtaken(stage: Stage, happens: () => Promise<unknown>) {
  const engine = stage.connect()
  const read = engine.read.bind(engine)
  let first = true
  engine.read = async (...args) => {
    const answer = await read(...args)
    if (first) {
      first = false
      await happens()
    }
    return answer
  }
  return new DeferQ({ engine, tasks: [job] })
}

const BEGIN = '2026-01-01T00:00:30Z'
const hourly = { cron: '0 * * * *', name: 'job', params: { n: 1 } } as const

onEachStage(
  'the first tick makes nothing, and each further one what has become due',
  BEGIN,
  async (stage) => {
    const deferq = stage.deferq([job])
    const schedule = await deferq.schedule('x', hourly)
    expect(schedule).toEqual({
      key: 'x',
      name: 'job',
      cron: '0 * * * *',
      timezone: 'UTC',
      missed: 'one',
      paused: false,
      nextAt: new Date('2026-01-01T01:00:00Z'),
      history: [],
    })
    await stage.ticks()
    expect(await stage.made()).toEqual([])
    await stage.until('2026-01-01T00:59:59.999Z')
    expect(await stage.made()).toEqual([])
    await stage.until('2026-01-01T01:00:00Z')
    expect(await stage.made()).toEqual(['2026-01-01 01:00:00'])
    await stage.until('2026-01-01T02:00:07Z')
    expect(await stage.made()).toEqual(['2026-01-01 01:00:00', '2026-01-01 02:00:00'])
    const after = await deferq.schedules.get('x')
    expect(after).toMatchObject({
      nextAt: new Date('2026-01-01T03:00:00Z'),
      lastAt: new Date('2026-01-01T02:00:00Z'),
    })
    const last = await deferq.getStatus(after?.lastTaskId as string)
    expect(last).toMatchObject({
      name: 'job',
      status: 'pending',
      createdAt: new Date('2026-01-01T02:00:07Z'),
    })
    expect(await deferq.schedules.list()).toEqual([after])
  },
)

onEachStage('an interval keeps its step, however late the ticks are', BEGIN, async (stage) => {
  await stage.deferq([job]).schedule('x', { every: '10m', name: 'job', params: { n: 1 } })
  await stage.until('2026-01-01T00:12:00Z')
  await stage.until('2026-01-01T00:29:00Z')
  await stage.until('2026-01-01T00:30:29Z')
  await stage.until('2026-01-01T00:30:30Z')
  expect(await stage.made()).toEqual(['2026-01-01 00:10:30', '2026-01-01 00:20:30', '2026-01-01 00:30:30'])
})

const AFTER_A_NIGHT = '2026-01-01T08:20:00Z'
const missing = (missed: 'skip' | 'one' | 'all', cap: number, expected: string[]): void =>
  onEachStage(`missed: '${missed}', cap ${cap}, after a night without workers`, BEGIN, async (stage) => {
    const deferq = stage.deferq([job])
    await deferq.schedule('x', { ...hourly, missed, cap })
    await stage.ticks()
    await stage.until(AFTER_A_NIGHT)
    expect((await stage.made()).map((each) => each.slice(11, 16))).toEqual(expected)
    await stage.until('2026-01-01T09:00:59Z')
    expect((await stage.made()).map((each) => each.slice(11, 16))).toEqual([...expected, '09:00'])
  })
missing('skip', 100, [])
missing('one', 100, ['08:00'])
missing('all', 100, ['01:00', '02:00', '03:00', '04:00', '05:00', '06:00', '07:00', '08:00'])
missing('all', 3, ['06:00', '07:00', '08:00'])

onEachStage('what was defined when no worker was there yet is owed from then on', BEGIN, async (stage) => {
  await stage.deferq([job]).schedule('x', { ...hourly, missed: 'all' })
  await stage.until('2026-01-01T02:30:00Z')
  expect(await stage.made()).toEqual(['2026-01-01 01:00:00', '2026-01-01 02:00:00'])
})

onEachStage('a store whose clock is set back makes nothing twice', BEGIN, async (stage) => {
  const deferq = stage.deferq([job])
  await deferq.schedule('x', { ...hourly, missed: 'all' })
  await stage.until('2026-01-01T02:00:00Z')
  // The change makes for a tick at once, by the clock that is behind.
  stage.now = Date.parse('2026-01-01T00:30:00Z')
  await deferq.schedule('x', { ...hourly, missed: 'all', params: { n: 2 } })
  await stage.ticks()
  expect((await deferq.schedules.get('x'))?.nextAt).toEqual(new Date('2026-01-01T03:00:00Z'))
  await stage.until('2026-01-01T02:30:00Z')
  expect(await stage.made()).toEqual(['2026-01-01 01:00:00', '2026-01-01 02:00:00'])
  await stage.until('2026-01-01T03:00:00Z')
  expect(await stage.made()).toHaveLength(3)
})

onEachStage(
  'an equal definition changes nothing, whoever gives it and in whatever order',
  BEGIN,
  async (stage) => {
    const first = stage.deferq([job])
    await first.schedule('x', { ...hourly, options: { priority: 3, retries: 1 } })
    await stage.until('2026-01-01T01:00:00Z')
    const [before] = await stage.runs('deferq.schedule')
    const schedules = await Promise.all(
      Array.from({ length: 10 }, () =>
        stage.deferq([job]).schedule('x', {
          options: { retries: 1, priority: 3 },
          params: { n: 1 },
          name: 'job',
          timezone: 'UTC',
          cron: ' 0 * * * * ',
        }),
      ),
    )
    expect(new Set(schedules.map(({ nextAt }) => nextAt?.toISOString()))).toEqual(
      new Set(['2026-01-01T02:00:00.000Z']),
    )
    expect(await stage.runs('deferq.schedule')).toEqual([before])
  },
)

onEachStage('defined by many at once there is one', BEGIN, async (stage) => {
  await Promise.all(Array.from({ length: 50 }, () => stage.deferq([job]).schedule('x', hourly)))
  expect(await stage.runs('deferq.schedule')).toHaveLength(1)
  await Promise.all(
    Array.from({ length: 50 }, () => stage.deferq([job]).schedule('x', { ...hourly, params: { n: 2 } })),
  )
  const live = (await stage.runs('deferq.schedule')).filter(({ status }) => status === 'pending')
  expect(live).toHaveLength(1)
  await stage.until('2026-01-01T01:00:00Z')
  expect((await stage.runs()).map(({ params }) => params)).toEqual(['{"n":2}'])
})

onEachStage(
  'a definition that comes when an occurrence is due loses none, and makes none twice',
  BEGIN,
  async (stage) => {
    const deferq = stage.deferq([job])
    await deferq.schedule('x', hourly)
    await stage.ticks()
    // Not ticked yet: the new timing begins now, and the old one is still owed what was due before.
    stage.now = Date.parse('2026-01-01T01:00:00.050Z')
    await deferq.schedule('x', { cron: '*/20 * * * *', name: 'job', params: { n: 2 } })
    await stage.ticks()
    expect(await stage.made()).toEqual(['2026-01-01 01:00:00'])
    await stage.until('2026-01-01T01:20:00Z')
    // The timing is the same, the params are not: what is due is run with the new ones.
    stage.now = Date.parse('2026-01-01T01:40:00.050Z')
    await deferq.schedule('x', { cron: '*/20 * * * *', name: 'job', params: { n: 3 } })
    await stage.ticks()
    expect(await stage.made()).toEqual(['2026-01-01 01:00:00', '2026-01-01 01:20:00', '2026-01-01 01:40:00'])
    const params = (await stage.runs()).map((run) => run.params)
    expect(params).toEqual(['{"n":2}', '{"n":2}', '{"n":3}'])
  },
)

onEachStage('redefined twice before any tick, what was due is still owed', BEGIN, async (stage) => {
  const deferq = stage.deferq([job])
  await deferq.schedule('x', hourly)
  await stage.ticks()
  stage.now = Date.parse('2026-01-01T01:00:01Z')
  await deferq.schedule('x', { ...hourly, cron: '30 * * * *' })
  await deferq.schedule('x', { ...hourly, cron: '45 * * * *' })
  await deferq.schedule('x', { ...hourly, cron: '45 * * * *', params: { n: 9 } })
  await stage.ticks()
  expect(await stage.made()).toEqual(['2026-01-01 01:00:00'])
  await stage.until('2026-01-01T01:59:00Z')
  expect(await stage.made()).toEqual(['2026-01-01 01:00:00', '2026-01-01 01:45:00'])
})

onEachStage('redefined in the middle of a tick, the occurrence is made once', BEGIN, async (stage) => {
  const deferq = stage.deferq([job])
  const engine = stage.connect()
  await deferq.schedule('x', hourly)
  await stage.ticks()
  stage.now = Date.parse('2026-01-01T01:00:00Z')
  const [claimed] = await begin(engine)
  await deferq.schedule('x', { ...hourly, params: { n: 2 } })
  expect(await end(engine, claimed as never), 'its place was taken').toBe('lost')
  expect(await stage.made()).toEqual([])
  await stage.ticks()
  expect(await stage.made()).toEqual(['2026-01-01 01:00:00'])
})

onEachStage(
  'redefined between a look and its change by a tick, the occurrence is made once',
  BEGIN,
  async (stage) => {
    const deferq = stage.deferq([job])
    await deferq.schedule('x', hourly)
    await stage.ticks()
    stage.now = Date.parse('2026-01-01T01:00:00Z')
    // The change is made of what was read before the tick, and arrives after it.
    await overtaken(stage, () => stage.ticks()).schedule('x', { ...hourly, params: { n: 2 } })
    await stage.ticks()
    expect(await stage.made()).toEqual(['2026-01-01 01:00:00'])
    expect((await stage.runs()).map(({ params }) => params)).toEqual(['{"n":1}'])
  },
)

onEachStage('a change that was overtaken by another is made on top of it', BEGIN, async (stage) => {
  const operator = stage.deferq([job])
  await operator.schedule('x', hourly)
  const deploying = overtaken(stage, () => operator.schedules.pause('x'))
  const deploy = await deploying.schedule('x', { ...hourly, params: { n: 2 } })
  expect(deploy.paused, 'the pause that came in between holds').toBe(true)
  await stage.until('2026-01-01T05:00:00Z')
  expect(await stage.made()).toEqual([])
  await operator.schedules.resume('x')
  await stage.until('2026-01-01T06:00:00Z')
  expect((await stage.runs()).map(({ params }) => params)).toEqual(['{"n":2}'])
})

onEachStage('a pause that was overtaken by a removal brings nothing back', BEGIN, async (stage) => {
  const operator = stage.deferq([job])
  await operator.schedule('x', hourly)
  const late = overtaken(stage, () => operator.schedules.remove('x'))
  await failing('TASK_NOT_FOUND', late.schedules.pause('x'))
  expect(await operator.schedules.list()).toEqual([])
})

onEachStage(
  'paused, nothing is made and nothing is made up for; a new definition leaves it paused',
  BEGIN,
  async (stage) => {
    const deferq = stage.deferq([job])
    await deferq.schedule('x', { ...hourly, missed: 'all' })
    await stage.ticks()
    expect(await deferq.schedules.pause('x')).toMatchObject({ paused: true })
    expect((await deferq.schedules.pause('x')).nextAt).toBeUndefined()
    await stage.until('2026-01-01T05:30:00Z')
    await deferq.schedule('x', { ...hourly, missed: 'all', params: { n: 2 } })
    expect(await deferq.schedules.get('x')).toMatchObject({ paused: true })
    expect(await deferq.schedules.resume('x')).toMatchObject({
      paused: false,
      nextAt: new Date('2026-01-01T06:00:00Z'),
    })
    await stage.until('2026-01-01T06:00:00Z')
    expect(await stage.made()).toEqual(['2026-01-01 06:00:00'])
    expect((await stage.runs()).map(({ params }) => params)).toEqual(['{"n":2}'])
    const begun = await stage.deferq([job]).schedule('y', { ...hourly, paused: true })
    expect(begun.paused).toBe(true)
  },
)

onEachStage('run now: one of its own, beside those to come', BEGIN, async (stage) => {
  const deferq = stage.deferq([job])
  await deferq.schedule('x', hourly)
  await stage.ticks()
  const one = await deferq.schedules.run('x')
  const two = await deferq.schedules.run('x')
  expect(one).toMatchObject({ name: 'job', status: 'pending' })
  expect(two.taskId).not.toBe(one.taskId)
  await stage.until('2026-01-01T01:00:00Z')
  expect(await stage.made()).toEqual(['2026-01-01 01:00:00', 'asked for', 'asked for'])
})

onEachStage('removed, it is gone; defined again, it begins anew', BEGIN, async (stage) => {
  const deferq = stage.deferq([job])
  await deferq.schedule('x', { ...hourly, missed: 'all' })
  await stage.until('2026-01-01T01:00:00Z')
  expect(await deferq.schedules.remove('x')).toBe(true)
  expect(await deferq.schedules.remove('x')).toBe(false)
  expect(await deferq.schedules.get('x')).toBeUndefined()
  for (const verb of ['pause', 'resume', 'run'] as const)
    await failing('TASK_NOT_FOUND', deferq.schedules[verb]('x'))
  await stage.until('2026-01-01T03:00:00Z')
  await deferq.schedule('x', { ...hourly, missed: 'all' })
  await stage.until('2026-01-01T04:00:00Z')
  expect(await stage.made()).toEqual(['2026-01-01 01:00:00', '2026-01-01 04:00:00'])
})

onEachStage(
  'a tick that dies with its worker has made nothing, and another makes it',
  BEGIN,
  async (stage) => {
    const deferq = stage.deferq([job])
    const engine = stage.connect()
    await deferq.schedule('x', hourly)
    await stage.ticks()
    stage.now = Date.parse('2026-01-01T01:00:00Z')
    const [dead] = await begin(engine, 1_000)
    stage.now += 2_000
    await engine.sweep(10)
    await stage.ticks()
    expect(await end(engine, dead as never), 'its lease was over').toBe('lost')
    expect(await stage.made()).toEqual(['2026-01-01 01:00:00'])
    // The attempt that was lost stays on record, and neither changes nor pauses are in its way.
    expect((await deferq.schedules.get('x'))?.history[0]?.error).toMatchObject({ code: 'LEASE_LOST' })
    await deferq.schedules.pause('x')
    await stage.until('2026-01-01T09:00:00Z')
    await deferq.schedules.resume('x')
    await stage.until('2026-01-01T10:00:00Z')
    expect(await stage.made()).toEqual(['2026-01-01 01:00:00', '2026-01-01 10:00:00'])
  },
)

async function manyAtOnce(stage: Stage, options: { limited: boolean }): Promise<void> {
  const limited = task('job', {
    run: (_: { n: number }) => 1,
    ...(options.limited && { concurrency: { limit: 1 } }),
  })
  await stage.deferq([limited]).schedule('x', { every: '1s', name: 'job', params: { n: 1 }, missed: 'all' })
  await stage.ticks()
  const engines = Array.from({ length: 50 }, () => stage.connect())
  const begun = stage.now
  for (let second = 1; second <= 20; second++) {
    stage.now = begun + second * 1_000
    await Promise.all(engines.map((engine) => stage.ticks(engine)))
  }
  const made = await stage.made()
  expect(made).toHaveLength(20)
  expect(new Set(made).size).toBe(20)
}

onEachStage('50 who tick at once make each occurrence once', BEGIN, (stage) =>
  manyAtOnce(stage, { limited: false }),
)
onEachStage('also of a task under limits, in the shard of its group', BEGIN, async (stage) => {
  await manyAtOnce(stage, { limited: true })
  const shards = new Set((await stage.runs()).map(({ id, group }) => `${id.slice(0, 8)} ${group}`))
  const other = await stage
    .deferq([task('job', { run: () => 1, concurrency: { limit: 1 } })])
    .dispatch('job', null as never)
  expect([...shards]).toEqual([`${other.taskId.slice(0, 8)} `])
})

onEachStage('callbacks follow each occurrence', BEGIN, async (stage) => {
  const deferq = stage.deferq([job, task('told', { run: () => null })])
  await deferq.schedule('x', {
    ...hourly,
    missed: 'all',
    options: { callback: ['told', { name: 'told', on: 'both' }] },
  })
  await stage.until('2026-01-01T02:00:00Z')
  const engine = stage.connect()
  const { claimed } = await engine.claim({ names: ['job'], limit: 9, leaseMs: 1_000 })
  expect(claimed).toHaveLength(2)
  await engine.settle(
    claimed.map(({ entry, token }) => ({ id: entry.id, token, kind: 'completed', result: '1' })),
  )
  const told = await stage.runs('told')
  expect(told.map(({ parent }) => parent?.id).sort()).toEqual(claimed.map(({ entry }) => entry.id).sort())
})

test('what is refused', async () => {
  const deferq = new DeferQ({ tasks: [job] })
  const refused = async (definition: object, said: RegExp, code: never = 'INVALID_OPTION' as never) => {
    const error = await failing(code, deferq.schedule('x', { ...hourly, ...definition } as never))
    expect(error.message).toMatch(said)
  }
  await refused({ name: 'jbo' }, /There is no task 'jbo'/, 'UNKNOWN_TASK' as never)
  await refused({ missed: 'never' }, /missed is 'never'/)
  await refused({ cap: 0 }, /cap must be a whole number from 1 to 1000/)
  await refused({ crno: '* * * * *' }, /there is no option 'crno'/)
  await refused({ paused: 1 }, /paused must be true or false/)
  await refused({ options: { delay: '5m' } }, /options.delay has no meaning for occurrences/)
  await refused({ options: { idempotencyKey: 'x' } }, /options.idempotencyKey/)
  await refused({ options: { prioritty: 5 } }, /there is no option 'prioritty'/)
  await refused({ options: { callback: () => {} } }, /must be the name of a task/)
  await failing('INVALID_OPTION', deferq.schedule('', hourly))
  await failing('INVALID_OPTION', deferq.schedule('x', undefined as never))
  await deferq.close()
})
