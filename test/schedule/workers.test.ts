// Schedules as workers keep them: in time, once each, whatever the workers' clocks say and however busy they are.
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Entry } from '../../src/contract/engine.ts'
import { MemoryEngine } from '../../src/engines/memory/index.ts'
import type { Context } from '../../src/index.ts'
import { DeferQ, task } from '../../src/index.ts'
import { draftOf, keyOfSchedule, stateOf } from '../../src/schedule/state.ts'
import { eventually, gate, listening, memory, working, workOff } from '../facade/places.ts'
import { everyPlace } from './scene.ts'

interface Ran {
  at: number
  late: number
}

/** A task that keeps when it was run, and how much later than its time, by a clock that no test touches. */
function watched() {
  const ran: Ran[] = []
  const job = task('job', {
    run: (_: { n: number }, { occurrence }: Context) => {
      const at = (occurrence as { at: Date }).at.getTime()
      ran.push({ at, late: real() - at })
    },
  })
  return { ran, job }
}
const real = (): number => performance.timeOrigin + performance.now()

const expectInTime = (ran: Ran[]): void => {
  expect(new Set(ran.map(({ at }) => at)).size, 'each once').toBe(ran.length)
  expect(Math.min(...ran.map(({ late }) => late)), 'never early').toBeGreaterThanOrEqual(-2)
  expect(Math.max(...ran.map(({ late }) => late)), 'never late').toBeLessThan(1_000)
}

everyPlace('four workers run each occurrence once, and in time', async (place) => {
  const { ran, job } = watched()
  const deferqs = Array.from({ length: 4 }, () => place.deferq({ tasks: [job] }))
  for (const deferq of deferqs) working(deferq)
  await Promise.all(
    deferqs.map((deferq) => deferq.schedule('x', { cron: '* * * * * *', name: 'job', params: { n: 1 } })),
  )
  await eventually('three have run', () => ran.length >= 3)
  expectInTime(ran)
  const gaps = ran.slice(1).map(({ at }, index) => at - (ran[index]?.at ?? 0))
  expect(gaps.every((gap) => gap === 1_000)).toBe(true)
  const [schedule] = await place.deferq().schedules.list()
  expect(Number(schedule?.lastAt)).toBeGreaterThanOrEqual(Number(ran[2]?.at))
})

for (const hours of [1, -1]) {
  test(`with clocks ${hours} h off, of caller and workers alike, nothing is run early or late`, async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + hours * 3_600_000 })
    try {
      const place = memory(() => Math.floor(real()))
      const { ran, job } = watched()
      const deferq = place.deferq({
        tasks: [job, task('delayed', { run: () => void ran.push({ at: -1, late: real() }) })],
      })
      working(deferq)
      working(place.deferq({ tasks: [job] }))
      const begun = real()
      const schedule = await deferq.schedule('x', {
        every: '1s',
        name: 'job',
        params: { n: 1 },
        missed: 'all',
      })
      expect(Math.abs((schedule.nextAt as Date).getTime() - begun - 1_000)).toBeLessThan(500)
      await deferq.dispatch('delayed', null, { delay: '1s' })
      await eventually('they have run', () => ran.length >= 4)
      const delayed = ran.findIndex(({ at }) => at === -1)
      expect((ran[delayed] as Ran).late - begun).toBeGreaterThanOrEqual(995)
      expect((ran[delayed] as Ran).late - begun).toBeLessThan(2_000)
      expectInTime(ran.filter(({ at }) => at !== -1))
    } finally {
      vi.useRealTimers()
    }
  })
}

test('with hints that never arrive everything is in time nevertheless, for what is due next is known', async () => {
  const { ran, job } = watched()
  const engine = new MemoryEngine()
  engine.listen = () => ({ stop: () => {}, hears: () => false })
  const deferq = new DeferQ({ engine, tasks: [job] })
  onTestFinished(() => deferq.close())
  await deferq.schedule('x', { every: '1s', name: 'job', params: { n: 1 } })
  working(deferq, { sleep: '10s' })
  await eventually('two have run', () => ran.length >= 2)
  expectInTime(ran)
})

everyPlace(
  'a worker that is busy, and takes other names from other queues, ticks nevertheless',
  async (place) => {
    const { ran, job } = watched()
    const busy = gate()
    const long = task('long', { queue: 'slow', run: () => busy.opened })
    const ticking = place.deferq({ tasks: [long, job] })
    await ticking.dispatch('long', null as never)
    working(ticking, { concurrency: 1, queues: ['slow'], names: ['long'], sleep: '5s' })
    const running = place.deferq({ tasks: [job] })
    working(running, { upkeep: false })
    await running.schedule('x', { every: '1s', name: 'job', params: { n: 1 } })
    await eventually('two have run', () => ran.length >= 2)
    expectInTime(ran)
    busy.open()
  },
)

everyPlace('without upkeep nothing is ticked, and what is due waits', async (place) => {
  const { ran, job } = watched()
  const deferq = place.deferq({ tasks: [job] })
  working(deferq, { upkeep: false })
  await deferq.schedule('x', { every: '1s', name: 'job', params: { n: 1 } })
  await new Promise((resolve) => setTimeout(resolve, 1_300))
  expect(ran).toEqual([])
  working(deferq)
  await eventually('it is made up for', () => ran.length > 0)
})

test('one pass ticks what is due, runs what that has made, and ends', async () => {
  let now = Date.parse('2026-01-01T00:00:00Z')
  const place = memory(() => now)
  const ran: string[] = []
  const job = task('job', {
    run: (_: { n: number }, context) => void ran.push(String(context.occurrence?.at.toISOString())),
  })
  const deferq = place.deferq({ tasks: [job] })
  for (let index = 0; index < 50; index++)
    await deferq.schedule(`x${index}`, { every: '1h', name: 'job', params: { n: index } })
  expect(await workOff(deferq)).toMatchObject({ reason: 'empty', claimed: 0 })
  now += 3_600_000
  expect(await workOff(deferq)).toMatchObject({ reason: 'empty', claimed: 50, completed: 50 })
  expect(new Set(ran)).toEqual(new Set(['2026-01-01T01:00:00.000Z']))
  expect(await workOff(deferq)).toMatchObject({ claimed: 0 })
})

test('a tick that can’t be done is said, kept with the schedule and tried again', async () => {
  const place = memory()
  const { ran, job } = watched()
  const { logger, said } = listening()
  const deferq = place.deferq({ tasks: [job], logger })
  await deferq.schedule('x', { every: '1s', name: 'job', params: { n: 1 } })
  await deferq.schedule('y', { every: '1s', name: 'job', params: { n: 1 } })
  // As from a later version, which knows a way to say when that this one does not.
  const engine = await deferq.open()
  const key = keyOfSchedule('x')
  const [entry] = (await engine.read([key])) as [Entry]
  const unknown = draftOf({ ...stateOf(entry), timing: { cron: 'whenever', timezone: 'UTC' } })
  await engine.admit([{ ...unknown, onDuplicate: { pending: 'supersede' } }])
  working(deferq)
  await eventually('it is said', () => said(/'deferq.schedule' failed and is tried again/).length > 0)
  await eventually('the other one ticks', () => ran.length > 0)
  const [standing] = await engine.read([key])
  expect(standing).toMatchObject({ status: 'pending' })
  expect(standing?.errors[0]).toMatch(/whenever/)
  const listed = await deferq.schedules.list()
  expect(listed.map(({ nextAt }) => nextAt === undefined)).toEqual([true, false])
  expect(listed[0]?.history[0]?.error.message).toMatch(/whenever/)
})
