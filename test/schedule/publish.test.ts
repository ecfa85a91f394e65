// The publisher, as its users see it: word by word and in one call, with gates, and with what is there already.
import { expect, expectTypeOf, test, vi } from 'vitest'
import { durationMs } from '../../src/base/time.ts'
import type { Context, Gated, Published } from '../../src/index.ts'
import { DeferQ, task } from '../../src/index.ts'
import { failing, memory, workOff } from '../facade/places.ts'
import { everyPlace } from './scene.ts'

const seen: unknown[] = []
const welcome = task('email.welcome', {
  facts: () => ({ open: true }),
  run: ({ to }: { to: string }, { meta }: Context) => {
    seen.push([to, meta])
    return `sent to ${to}`
  },
})

everyPlace('word by word: what was said is what is dispatched', async (place) => {
  seen.length = 0
  const deferq = place.deferq({ tasks: [welcome] })
  const published = await deferq
    .publish('email.welcome')
    .payload({ to: 'ann' })
    .meta({ by: 'signup', version: 3 })
    .in('5m')
    .idempotency('welcome-ann')
    .rules({ 'facts.open': true })
    .when(() => true)
    .skipIf(async () => false)
    .options({ priority: 7, queue: 'mail' })
    .commit()
  if (published.gated) throw new Error('nothing holds it back')
  expect(published).toMatchObject({ outcome: 'created', gated: false, priority: 7, queue: 'mail' })
  expect(published.dueAt.getTime() - published.createdAt.getTime()).toBe(300_000)
  expect((await deferq.getStatus(published.taskId)).meta).toEqual({ by: 'signup', version: 3 })
  // Asking again brings it forward, and never puts it off.
  const later = await deferq
    .publish('email.welcome')
    .payload({ to: 'ann' })
    .in('1h')
    .idempotency('welcome-ann')
    .commit()
  expect(later).toMatchObject({ outcome: 'joined', dueAt: published.dueAt })
  await deferq
    .publish('email.welcome')
    .payload({ to: 'ann' })
    .at(new Date(0))
    .idempotency('welcome-ann')
    .commit()
  await workOff(deferq)
  expect(seen).toEqual([['ann', { by: 'signup', version: 3 }]])
})

everyPlace('gates hold it back, and say which and why; nothing is there then', async (place) => {
  const deferq = place.deferq({ tasks: [welcome] })
  const isWorkday = (): boolean => false
  const publish = () => deferq.publish('email.welcome').payload({ to: 'bob' })
  expect(
    await publish()
      .when(() => true)
      .when(isWorkday)
      .commit(),
  ).toEqual({
    gated: true,
    name: 'email.welcome',
    by: 'when',
    reason: 'isWorkday',
  })
  expect(
    await publish()
      .skipIf(async ({ to }) => to === 'bob', 'bob wants none')
      .commit(),
  ).toMatchObject({
    gated: true,
    by: 'skipIf',
    reason: 'bob wants none',
  })
  expect(
    await publish()
      .when(() => 0 as never)
      .commit(),
  ).toMatchObject({ gated: true, reason: 'when' })
  await expect(
    publish()
      .when(() => {
        throw new Error('who knows')
      })
      .commit(),
  ).rejects.toThrow('who knows')
  expect((await deferq.list()).receipts).toEqual([])
})

everyPlace('what is there already answers before any gate is asked', async (place) => {
  const deferq = place.deferq({ tasks: [welcome] })
  const gate = vi.fn(() => false)
  const publish = () => deferq.publish('email.welcome').payload({ to: 'eve' }).idempotency('x').when(gate)
  const first = await deferq.dispatch('email.welcome', { to: 'eve' }, { idempotencyKey: 'x' })
  expect(await publish().commit()).toMatchObject({ gated: false, outcome: 'joined', taskId: first.taskId })
  await workOff(deferq)
  const hit = await publish().commit()
  expect(hit).toMatchObject({ gated: false, outcome: 'hit', taskId: first.taskId, result: 'sent to eve' })
  expect(gate).not.toHaveBeenCalled()
  await deferq.invalidate(first.taskId)
  expect(await publish().commit()).toMatchObject({ gated: true, by: 'when' })
})

test('what came to its end in the very moment is no answer: the gates decide on the new run', async () => {
  const place = memory()
  const deferq = place.deferq({ tasks: [welcome] })
  const first = await deferq.dispatch('email.welcome', { to: 'x' })
  const engine = await deferq.open()
  const admit = engine.admit.bind(engine)
  engine.admit = async (drafts, options) => {
    await deferq.cancel(first.taskId)
    return admit(drafts, options)
  }
  const gated = await deferq
    .publish('email.welcome')
    .payload({ to: 'x' })
    .when(() => false)
    .commit()
  expect(gated).toMatchObject({ gated: true, by: 'when' })
  const { receipts } = await deferq.list()
  expect(receipts.map(({ status }) => status)).toEqual(['cancelled', 'cancelled'])
  expect(receipts[1]?.history[0]?.error.message).toBe('Held back by when: when')
})

everyPlace('quick: a moment, a while, a function of the payload, or now', async (place) => {
  const deferq = place.deferq({ tasks: [welcome] })
  const due = async (when: Parameters<typeof deferq.quick>[1], to: string): Promise<number> => {
    const published = await deferq.quick('email.welcome', when, { to }, { priority: 1 })
    if (published.gated) throw new Error('no gate')
    expect(published.priority).toBe(1)
    return published.dueAt.getTime() - published.createdAt.getTime()
  }
  expect(await due(undefined, 'a')).toBe(0)
  expect(await due('5m', 'b')).toBe(300_000)
  expect(await due('PT1H', 'c')).toBe(3_600_000)
  expect(await due('2000-01-01T00:00:00Z', 'd')).toBe(0)
  expect(await due(new Date(Date.now() - 5_000), 'e')).toBe(0)
  expect(await due(Date.now() + 60_000, 'f')).toBeGreaterThan(50_000)
  expect(
    await due(async ({ to }) => (to === 'g' ? new Date(Date.now() + 3_600_000) : 0), 'g'),
  ).toBeGreaterThan(3_500_000)
  expect(
    await deferq.quick('email.welcome', '1h', { to: 'z' }, { skipIf: ({ to }) => to === 'z' }),
  ).toMatchObject({
    gated: true,
    by: 'skipIf',
  })
})

test('what is malformed is refused where it is written, also when a gate would hold it back', async () => {
  const deferq = new DeferQ({ tasks: [welcome] })
  const publish = () =>
    deferq
      .publish('email.welcome')
      .payload({ to: 'a' })
      .when(() => false)
  for (const [refused, said] of [
    [() => publish().in('soon'), /publish\('email.welcome'\).in\(\) is "soon"/],
    [() => publish().in(-1), /is -1, which is no duration/],
    [() => publish().in('101 years'), /no duration/],
    [() => publish().in(Number.POSITIVE_INFINITY), /no duration/],
    [() => publish().at('tomorrow'), /publish\('email.welcome'\).at\(\) is "tomorrow", which is no moment/],
    [() => publish().at('2026-01-01T08:00:00'), /with a zone/],
    [
      () =>
        publish()
          .at(() => 'tomorrow')
          .commit(),
      /at\(\) is "tomorrow"/,
    ],
    [() => publish().at(new Date(Number.NaN)), /no moment/],
    [() => publish().at(10_000_000_000_000), /no moment.*until the year 2286/],
    [() => publish().when('yes' as never), /when\(\) must be a function/],
    [
      () =>
        publish()
          .rules({ to: { is: 'a' } })
          .commit(),
      /no operator 'is'/,
    ],
    [() => publish().idempotency('').commit(), /idempotencyKey must be/],
    [
      () =>
        publish()
          .options({ prio: 1 } as never)
          .commit(),
      /no option 'prio'/,
    ],
    [() => deferq.quick('email.welcome', '5 minutes', { to: 'a' }), /in\(\) is "5 minutes"/],
    [() => deferq.quick('email.welcome', 'P1M', { to: 'a' }), /in\(\) is "P1M"/],
  ] as const) {
    expect((await failing('INVALID_OPTION', (async () => refused())())).message).toMatch(said)
  }
  await failing('UNKNOWN_TASK', deferq.publish('email.welcom' as never).commit())
  await deferq.close()
})

test.each([
  ['PT5M', 300_000],
  ['P1D', 86_400_000],
  ['P2W', 1_209_600_000],
  ['P1DT2H3M4.5S', 93_784_500],
  ['PT0S', 0],
])('the ISO-8601 duration %s', (text, ms) => expect(durationMs(text, 'x')).toBe(ms))

test.each(['P', 'PT', 'P1Y', 'P1M', 'P1DT', 'PT5', '-PT5M', 'pt5m', 'P1D2H', 'P200000D'])(
  '%s is no duration',
  async (text) => {
    await failing('INVALID_OPTION', () => durationMs(text, 'x'))
  },
)

test('types: the payload is that of the task, and the answer that of a dispatch or of a gate', () => {
  const deferq = new DeferQ({ tasks: [welcome] })
  const publisher = deferq.publish('email.welcome')
  expectTypeOf(publisher.payload).parameter(0).toEqualTypeOf<{ to: string }>()
  expectTypeOf(publisher.commit).returns.resolves.toEqualTypeOf<Published<string>>()
  expectTypeOf<Extract<Published<string>, { gated: true }>>().toEqualTypeOf<Gated>()
  // @ts-expect-error there is no such task
  void (() => deferq.publish('email.welcom'))
  // @ts-expect-error nor such params
  void (() => deferq.quick('email.welcome', '5m', { tos: 'x' }))
  // @ts-expect-error a schedule's params are its task's too
  void (() => deferq.schedule('x', { cron: '@daily', name: 'email.welcome', params: { tos: 'x' } }))
})
