import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { DeadlineTimer } from '../../src/base/deadline-timer.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const rung: number[] = []
function alarm(next: (now: number) => number = () => Number.POSITIVE_INFINITY): DeadlineTimer {
  rung.length = 0
  return new DeadlineTimer((now) => {
    rung.push(now)
    return next(now)
  })
}

test('rings at the earliest moment it was told of, once, and not before', async () => {
  const one = alarm()
  const now = performance.now()
  for (const ms of [300, 100.5, 200, Number.POSITIVE_INFINITY]) one.by(now + ms)
  expect(vi.getTimerCount()).toBe(1)
  await vi.advanceTimersByTimeAsync(100)
  expect(rung).toEqual([])
  await vi.advanceTimersByTimeAsync(1_000)
  expect(rung).toHaveLength(1)
  expect(rung[0]).toBeGreaterThanOrEqual(now + 100.5)
  expect(vi.getTimerCount()).toBe(0)
  one.by(now)
  await vi.advanceTimersByTimeAsync(1)
  expect(rung).toHaveLength(2)
})

test('rings again when it was answered to, also when it is told of something earlier by then', async () => {
  const one = alarm((now) => {
    one.by(now + 10)
    return rung.length < 3 ? now + 50 : Number.POSITIVE_INFINITY
  })
  const now = performance.now()
  one.by(now + 50)
  await vi.advanceTimersByTimeAsync(65)
  expect(rung.map((at) => Math.round(at - now))).toEqual([50, 60])
  one.stop()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(rung).toHaveLength(2)
})

test('rings for what is further away than timers reach, and not until then', async () => {
  const at = performance.now() + 5_000_000_000
  const one = alarm((now) => (now < at ? at : Number.POSITIVE_INFINITY))
  one.by(at)
  await vi.advanceTimersByTimeAsync(4_999_999_000)
  expect(rung.filter((now) => now >= at)).toEqual([])
  await vi.advanceTimersByTimeAsync(2_000)
  expect(rung.filter((now) => now >= at)).toHaveLength(1)
  expect(vi.getTimerCount()).toBe(0)
})

test('keeps the process only while it holds', () => {
  vi.useRealTimers()
  const holding = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = holding()
  const one = alarm()
  one.by(performance.now() + 60_000)
  expect(holding()).toBe(before + 1)
  one.hold(false)
  expect(holding()).toBe(before)
  one.by(performance.now() + 50_000)
  expect(holding()).toBe(before)
  one.hold(true)
  expect(holding()).toBe(before + 1)
  one.stop()
  expect(holding()).toBe(before)
})
