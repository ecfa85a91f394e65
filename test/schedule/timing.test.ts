// When occurrences are: cron expressions across the days on which clocks change, intervals, and what is refused.
import { describe, expect, test } from 'vitest'
import type { Timing } from '../../src/schedule/timing.ts'
import { clockOf, timingOf } from '../../src/schedule/timing.ts'
import { failing } from '../facade/places.ts'

const at = (text: string): number => Date.parse(text)
const shown = (moments: number[]): string[] =>
  moments.map((each) => new Date(each).toISOString().slice(0, 16).replace('T', ' '))

async function following(timing: Timing, from: string, count: number): Promise<string[]> {
  const clock = await clockOf(timing)
  const found: number[] = []
  for (let now = at(from); found.length < count; ) found.push((now = clock.after(now)))
  return shown(found)
}

describe('the spring day that lacks an hour', () => {
  test('what is to be at a time that does not exist is once, at the first moment after the gap', async () => {
    // In Berlin 02:00 to 03:00 (01:00 UTC), on 29 March 2026.
    const berlin = { cron: '30 2 * * *', timezone: 'Europe/Berlin' }
    expect(await following(berlin, '2026-03-28T00:00:00Z', 3)).toEqual([
      '2026-03-28 01:30',
      '2026-03-29 01:00',
      '2026-03-30 00:30',
    ])
    // In New York 02:00 to 03:00 (07:00 UTC), on 8 March 2026.
    const newYork = { cron: '30 2 * * *', timezone: 'America/New_York' }
    expect(await following(newYork, '2026-03-07T00:00:00Z', 3)).toEqual([
      '2026-03-07 07:30',
      '2026-03-08 07:00',
      '2026-03-09 06:30',
    ])
  })

  test('a list of hours loses none of them', async () => {
    const timing = { cron: '30 2,14 * * *', timezone: 'Europe/Berlin' }
    expect(await following(timing, '2026-03-28T20:00:00Z', 3)).toEqual([
      '2026-03-29 01:00',
      '2026-03-29 12:30',
      '2026-03-30 00:30',
    ])
  })

  test('what is to be every half an hour goes on every half an hour', async () => {
    const timing = { cron: '*/30 * * * *', timezone: 'Europe/Berlin' }
    expect(await following(timing, '2026-03-29T00:00:00Z', 4)).toEqual([
      '2026-03-29 00:30',
      '2026-03-29 01:00',
      '2026-03-29 01:30',
      '2026-03-29 02:00',
    ])
  })
})

describe('the autumn day that has an hour twice', () => {
  test('what is to be at a time that comes twice is once, at the first of them', async () => {
    const berlin = { cron: '30 2 * * *', timezone: 'Europe/Berlin' }
    expect(await following(berlin, '2026-10-24T20:00:00Z', 2)).toEqual([
      '2026-10-25 00:30',
      '2026-10-26 01:30',
    ])
    const newYork = { cron: '30 1 * * *', timezone: 'America/New_York' }
    expect(await following(newYork, '2026-10-31T20:00:00Z', 2)).toEqual([
      '2026-11-01 05:30',
      '2026-11-02 06:30',
    ])
  })

  test('what is to be every half an hour goes on every half an hour', async () => {
    const timing = { cron: '*/30 * * * *', timezone: 'America/New_York' }
    expect(await following(timing, '2026-11-01T05:00:00Z', 4)).toEqual([
      '2026-11-01 05:30',
      '2026-11-01 06:00',
      '2026-11-01 06:30',
      '2026-11-01 07:00',
    ])
  })
})

describe('within', () => {
  const daily = { cron: '0 3 * * *', timezone: 'Europe/Berlin' }

  test('the last of many, in their order, the beginning excluded and the end included', async () => {
    const clock = await clockOf(daily)
    const since = at('2026-03-27T02:00:00Z')
    const until = at('2026-03-31T01:00:00Z')
    expect(shown(clock.within(since, until, 100))).toEqual([
      '2026-03-28 02:00',
      '2026-03-29 01:00',
      '2026-03-30 01:00',
      '2026-03-31 01:00',
    ])
    expect(shown(clock.within(since, until, 2))).toEqual(['2026-03-30 01:00', '2026-03-31 01:00'])
    expect(clock.within(until, until, 5)).toEqual([])
    expect(clock.within(until, since, 5)).toEqual([])
  })

  test('each moment is in exactly one of two stretches that meet, whatever the milliseconds', async () => {
    const clock = await clockOf({ cron: '*/5 * * * * *', timezone: 'UTC' })
    const begin = at('2026-01-01T00:00:00Z')
    const whole = clock.within(begin, begin + 60_000, 1_000)
    expect(whole).toHaveLength(12)
    for (const cut of [1, 999, 4_999, 5_000, 5_001, 29_500]) {
      const parts = [
        ...clock.within(begin, begin + cut, 1_000),
        ...clock.within(begin + cut, begin + 60_000, 1_000),
      ]
      expect(parts).toEqual(whole)
    }
  })

  test('what comes next is the same from wherever it is looked at, also on the days on which clocks change', async () => {
    const days = [
      '2026-03-08T00:00:00Z',
      '2026-03-28T12:00:00Z',
      '2026-10-24T12:00:00Z',
      '2026-10-31T12:00:00Z',
    ]
    for (const timezone of ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe']) {
      for (const cron of ['30 2 * * *', '30 1,2 * * *', '*/20 * * * *', '0 0 * * *', '15 1-3 * * *']) {
        const clock = await clockOf({ cron, timezone })
        for (const day of days.map(at)) {
          const end = day + 36 * 3_600_000
          const whole = clock.within(day, end, 1_000)
          for (let cut = day; cut < end; cut += 21 * 60_000) {
            const next = whole.find((each) => each > cut) ?? clock.after(end)
            expect(clock.after(cut), `${cron} ${timezone} ${new Date(cut).toISOString()}`).toBe(next)
          }
        }
      }
    }
  })

  test('ten years of every second are no more work than what is asked for', async () => {
    const clock = await clockOf({ cron: '* * * * * *', timezone: 'America/New_York' })
    const until = at('2026-01-01T00:00:00Z')
    const begun = performance.now()
    const found = clock.within(at('2016-01-01T00:00:00Z'), until, 100)
    expect(found).toHaveLength(100)
    expect(found[0]).toBe(until - 99_000)
    expect(performance.now() - begun).toBeLessThan(1_000)
  })

  test('an interval counts from where it began', async () => {
    const clock = await clockOf({ everyMs: 900_000 })
    const since = at('2026-01-01T00:07:00Z')
    const until = at('2026-01-01T01:00:00Z')
    expect(shown(clock.within(since, until, 100))).toEqual([
      '2026-01-01 00:22',
      '2026-01-01 00:37',
      '2026-01-01 00:52',
    ])
    expect(shown(clock.within(since, until, 1))).toEqual(['2026-01-01 00:52'])
    expect(shown([clock.forward(since, until), clock.after(clock.forward(since, until))])).toEqual([
      '2026-01-01 00:52',
      '2026-01-01 01:07',
    ])
  })
})

describe('refused when it is defined, with the place', () => {
  test.each([
    [{}, /schedule\('x'\) needs either cron .* or every/],
    [{ cron: '* * * * *', every: '1m' }, /not both/],
    [{ cron: 'every day' }, /cron is 'every day', which has not five or six fields/],
    [
      { cron: '61 * * * *' },
      /which can't be read \(CronPattern: Invalid value for minute: 61\)|Invalid value for minute/,
    ],
    [{ cron: '0 0 * * * * *' }, /five or six fields/],
    [{ cron: '2030-01-01T00:00:00' }, /five or six fields/],
    [{ cron: '@reboot' }, /can't be read/],
    [{ cron: '0 0 30 2 *' }, /never comes: there is no such day/],
    [{ cron: '0 0 31 4,6,9,11 *' }, /never comes/],
    [{ cron: `${'1,'.repeat(200)}1 * * * *` }, /longer than 200/],
    [{ cron: 5 }, /five or six fields/],
    [{ cron: '* * * * *', timezone: 'Mars/Olympus' }, /timezone is "Mars\/Olympus", which is not known here/],
    [{ cron: '* * * * *', timezone: 7 }, /timezone is 7/],
    [{ every: '1m', timezone: 'UTC' }, /timezone belongs to cron/],
    [{ every: '999ms' }, /every is "999ms", and must be at least a second/],
    [{ every: 0 }, /at least a second/],
    [{ every: -5 }, /every is -5, which is no duration/],
    [{ every: '200 years' }, /no duration/],
    [{ every: Number.POSITIVE_INFINITY }, /no duration/],
  ])('%j', async (written, said) => {
    const error = await failing('INVALID_OPTION', timingOf(written as never, "schedule('x')"))
    expect(error.message).toMatch(said)
    expect(error.message).toContain("schedule('x')")
  })

  test.each(['@daily', '@hourly', '0 0 29 2 *', '0 0 L * *', '*/10 * * * * *', ' 5  4 * * sun '])(
    '%s is fine',
    async (cron) => {
      const timing = await timingOf({ cron }, 'x')
      expect(timing).toEqual({ cron: cron.trim().replace(/\s+/g, ' '), timezone: 'UTC' })
    },
  )
})
