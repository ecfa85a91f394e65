// Many time limits behind one timer: each is told of in its time, unless it was met.
import { afterEach, expect, test, vi } from 'vitest'
import type { Deadline } from '../src/deadlines.ts'
import { Deadlines } from '../src/deadlines.ts'

afterEach(() => {
  vi.useRealTimers()
})

const set = () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const deadlines = new Deadlines()
  const told: string[] = []
  const add = (ms: number, name: string, also = () => {}) =>
    deadlines.add(performance.now() + ms, () => {
      told.push(name)
      also()
    })
  return { deadlines, told, add }
}

test('each is told of in its time, whatever the order in which they were added', () => {
  const { told, add } = set()
  add(50, 'b')
  add(500, 'd')
  add(10, 'a')
  add(50, 'c')
  vi.advanceTimersByTime(9)
  expect(told).toEqual([])
  vi.advanceTimersByTime(1)
  expect(told).toEqual(['a'])
  vi.advanceTimersByTime(40)
  expect(told.sort()).toEqual(['a', 'b', 'c'])
  vi.advanceTimersByTime(450)
  expect(told).toHaveLength(4)
  expect(vi.getTimerCount()).toBe(0)
})

test('one that was met is not told of, be it at the last moment and by another', () => {
  const { deadlines, told, add } = set()
  const met = add(10, 'met')
  deadlines.met(met)
  deadlines.met(met)
  const pair: Deadline[] = []
  pair.push(
    add(20, 'one', () => deadlines.met(pair[1] as Deadline)),
    add(20, 'other', () => deadlines.met(pair[0] as Deadline)),
  )
  vi.advanceTimersByTime(30)
  expect(told).toHaveLength(1)
  // What was met before is gone for good: nobody else was taken out in its place.
  add(5, 'next')
  deadlines.met(met)
  for (const each of pair) deadlines.met(each)
  vi.advanceTimersByTime(5)
  expect(told[1]).toBe('next')
})

test('what is further away than a timer reaches is waited for', () => {
  const { told, add } = set()
  add(3_000_000_000, 'far')
  vi.advanceTimersByTime(2_999_999_999)
  expect(told).toEqual([])
  vi.advanceTimersByTime(2)
  expect(told).toEqual(['far'])
})
