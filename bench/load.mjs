// Puts load on whatever is measured: many callers in flight, or one after another with the time that each took.

/** Each caller awaits its call, then makes the next; answers calls per second. `call` is given a number from 0 to size - 1. */
export async function callsPerSecond(size, callers, call) {
  let next = 0
  const caller = async () => {
    while (next < size) await call(next++)
  }
  const began = performance.now()
  await Promise.all(Array.from({ length: callers }, caller))
  return perSecond(size, began)
}

export const perSecond = (size, began) => size / ((performance.now() - began) / 1_000)

/** One call at a time; answers the percentiles of what they took, in milliseconds. */
export async function latencies(size, call) {
  const took = new Float64Array(size)
  for (let index = 0; index < size; index++) {
    // A turn of the event loop between calls, so that none begins within the work that the last one left behind.
    await new Promise(setImmediate)
    const began = performance.now()
    await call(index)
    took[index] = performance.now() - began
  }
  took.sort()
  const at = (share) => took[Math.ceil(size * share) - 1]
  return { p50: at(0.5), p99: at(0.99) }
}

/** Resolves when `tick` has been called `size` times. */
export function countdown(size) {
  let left = size
  let finish
  const done = new Promise((resolve) => {
    finish = resolve
  })
  const tick = () => {
    if (--left === 0) finish()
  }
  return { done, tick }
}

/** In slices, for what takes many at once. */
export async function inSlices(size, most, send) {
  for (let from = 0; from < size; from += most) {
    const length = Math.min(most, size - from)
    await send(Array.from({ length }, (_, index) => from + index))
  }
}

export function expect(value, wanted, what) {
  if (value !== wanted)
    throw new Error(
      `${what} is '${value}' where '${wanted}' was expected: nothing of this would be a fair figure.`,
    )
}
