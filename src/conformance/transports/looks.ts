// Conformance: how deep queues are, and what is first in them, without taking anything.
import assert from 'node:assert/strict'
import { eventually } from '../scene.ts'
import type { TransportCases, TransportScene } from './scene.ts'
import { texts } from './scene.ts'

async function depth(s: TransportScene, expected: { ready: number; delayed?: number; reserved?: number }) {
  let found: unknown
  // Some brokers count a moment later.
  await eventually(`the depth is ${JSON.stringify(expected)}`, async () => {
    const [{ queue, ...rest } = { queue: '', ready: -1 }] = await s.transport.depth([s.queue])
    assert.equal(queue, s.queue)
    found = rest
    return Object.entries(expected).every(([name, count]) => rest[name as 'ready'] === count)
  }).catch((error: Error) => {
    throw new Error(`${error.message}; it was ${JSON.stringify(found)}`)
  })
}

export const LOOKS: TransportCases = {
  async 'the depth counts what may be handed out now'(s) {
    await depth(s, { ready: 0 })
    await s.publish(['a', 'b', 'c'])
    await depth(s, { ready: 3 })
    const a = await s.takeOne()
    await depth(s, { ready: 2 })
    await s.transport.ack([a])
    await depth(s, { ready: 2 })
    await s.publish(['later'], { delayMs: s.units(40) })
    await depth(s, { ready: 2 })
  },

  async 'the depth counts what is delayed, and moves it when it is due'(s) {
    await s.publish(['later', 'later'], { delayMs: s.units(2) })
    await depth(s, { ready: 0, delayed: 2 })
    await s.advance(2)
    await depth(s, { ready: 2, delayed: 0 })
  },

  async 'the depth counts what consumers hold, until their visibility is over'(s) {
    await s.publish(['a', 'b', 'c'])
    await s.take(2, { visibilityMs: s.units(2) })
    await depth(s, { ready: 1, reserved: 2 })
    await s.advance(2)
    await depth(s, { ready: 3, reserved: 0 })
    const taken = await s.take(3)
    await s.transport.ack(taken)
    await depth(s, { ready: 0, reserved: 0 })
  },

  async 'depths line up with their queues, and a queue that never was is empty'(s) {
    await s.publish(['a'], { queue: s.other })
    const never = `${s.queue}-never`
    await eventually('the depths are told', async () => {
      const depths = await s.transport.depth([s.queue, s.other, never])
      assert.deepEqual(
        depths.map(({ queue }) => queue),
        [s.queue, s.other, never],
      )
      return depths.map(({ ready }) => ready).join() === '0,1,0'
    })
    assert.deepEqual(await s.transport.depth([]), [])
    assert.deepEqual(await s.transport.peek(never, 5), [])
  },

  async 'a look takes nothing'(s) {
    await s.publish(['later'], { delayMs: s.units(40) })
    await s.publish(['a', 'b', 'c'])
    for (let look = 0; look < 2; look++) {
      assert.deepEqual(texts(await s.transport.peek(s.queue, 2)), ['a', 'b'])
      assert.deepEqual(texts(await s.transport.peek(s.queue, 10)), ['a', 'b', 'c'])
    }
    const taken = await s.take(3)
    assert.deepEqual(texts(taken), ['a', 'b', 'c'])
    assert.deepEqual(
      taken.map(({ deliveries }) => deliveries),
      [0, 0, 0],
      'a look is no delivery',
    )
    assert.deepEqual(await s.transport.peek(s.queue, 10), [])
  },
}
