import { expect, test } from 'vitest'
import { PriorityQueue } from '../../src/base/priority-queue.ts'

const SEED = 20_240_611

/** A small generator of the kind that repeats itself from its seed. */
function dice(seed: number): (sides: number) => number {
  let state = seed
  return (sides) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state % sides
  }
}

test.each([
  ['in order', 0],
  ['nearly in order', 10],
  ['in no order', 10_000],
])('gives the smallest first, however it came in: %s', (_, disorder) => {
  const roll = dice(SEED + disorder)
  const heap = new PriorityQueue<number>((a, b) => a - b)
  const expected: number[] = []
  for (let step = 0; step < 20_000; step++) {
    // More come than go at first, and more go than come later.
    if (roll(10) < (step < 10_000 ? 6 : 3)) {
      const item = step + (disorder === 0 ? 0 : roll(disorder))
      heap.push(item)
      const at = expected.findLastIndex((other) => other <= item) + 1
      expected.splice(at, 0, item)
    } else {
      expect(heap.peek()).toBe(expected[0])
      expect(heap.pop()).toBe(expected.shift())
    }
    expect(heap.size).toBe(expected.length)
  }
  expect(heap.sorted()).toEqual(expected)
})
