// One timer that ends whatever waits too long.
import { expect, test } from 'vitest'
import { Deadlines } from '../../src/drivers/deadlines.ts'

const never = new Promise<never>(() => {})

test('each ends at its own deadline, in whatever order they came', async () => {
  const deadlines = new Deadlines()
  const began = performance.now()
  const late = new Error('late')
  const ended: number[] = []
  const wait = async (ms: number): Promise<void> => {
    await expect(deadlines.within(began + ms, never, late)).rejects.toBe(late)
    expect(performance.now() - began).toBeGreaterThanOrEqual(ms)
    ended.push(ms)
  }
  await Promise.all([90, 30, 60, 61].map(wait))
  expect(ended).toEqual([30, 60, 61, 90])
  await wait(performance.now() - began + 20)
})

test('what is answered in time is answered, and a deadline that has passed ends at once', async () => {
  const deadlines = new Deadlines()
  const soon = performance.now() + 30
  const broken = new Error('broken')
  expect(await deadlines.within(soon, Promise.resolve(1), 'late')).toBe(1)
  await expect(deadlines.within(soon, Promise.reject(broken), 'late')).rejects.toBe(broken)
  await expect(deadlines.within(performance.now() - 5, never, 'late')).rejects.toBe('late')
  deadlines.stop()
  expect(await deadlines.within(performance.now() + 1_000, Promise.resolve(2), 'late')).toBe(2)
  await expect(deadlines.within(performance.now() + 5, never, 'late')).rejects.toBe('late')
})
