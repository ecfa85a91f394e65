// Conformance: reservations that wait, and what ends the wait.
import assert from 'node:assert/strict'
import type { TransportCases } from './scene.ts'
import { texts, timed } from './scene.ts'

export const WAITS: TransportCases = {
  async 'without waitMs, an empty queue is answered at once'(s) {
    const { value, ms } = await timed(s.reserve())
    assert.deepEqual(value, [])
    assert.ok(ms < 1_000, `it took ${ms} ms`)
  },

  async 'a wait for nothing ends when its time is over'(s) {
    const { value, ms } = await timed(s.reserve({ waitMs: s.units(1) }))
    assert.deepEqual(value, [])
    assert.ok(ms >= s.units(1) - 20, `it ended after ${ms} ms`)
    assert.ok(ms < s.units(1) + 1_500, `it ended after ${ms} ms`)
  },

  async 'what is there is handed out without waiting for more'(s) {
    await s.publish(['one'])
    const { value, ms } = await timed(s.reserve({ limit: 5, waitMs: 8_000 }))
    assert.deepEqual(texts(value), ['one'])
    assert.ok(ms < 4_000, `it took ${ms} ms`)
  },

  async 'a wait ends with a message that another connection publishes'(s) {
    const consumer = await s.connect()
    for (const name of ['first', 'second']) {
      const waiting = timed(s.reserve({ waitMs: 8_000 }, consumer))
      await asleep(s.units(0.4))
      await s.publish([name])
      const { value, ms } = await waiting
      assert.deepEqual(texts(value), [name])
      assert.ok(ms < 4_000, `it took ${ms} ms`)
    }
  },

  async 'a wait that a batch ends leaves its order as it is'(s) {
    const consumer = await s.connect()
    const waiting = s.reserve({ waitMs: 8_000 }, consumer)
    await asleep(s.units(0.4))
    await s.publish(['a', 'b', 'c', 'd'])
    assert.deepEqual(texts(await waiting), ['a'])
    assert.deepEqual(texts(await s.take(3)), ['b', 'c', 'd'])
  },

  async 'a wait ends with a message in any of its queues'(s) {
    const consumer = await s.connect()
    for (const queue of [s.other, s.queue]) {
      const waiting = timed(s.reserve({ queues: [s.queue, s.other], waitMs: 8_000 }, consumer))
      await asleep(s.units(0.4))
      await s.publish(['it'], { queue })
      const { value, ms } = await waiting
      assert.deepEqual(texts(value), ['it'])
      assert.equal(value[0]?.queue, queue)
      assert.ok(ms < 4_000, `it took ${ms} ms`)
    }
  },

  async 'a wait ends when a delayed message is due'(s) {
    await s.publish(['later'], { delayMs: s.units(1) })
    const waiting = timed(s.reserve({ waitMs: 8_000 }))
    await s.advance(1)
    const { value, ms } = await waiting
    assert.deepEqual(texts(value), ['later'])
    assert.ok(ms < 4_000, `it took ${ms} ms`)
  },

  async 'a wait ends when another consumer’s visibility is over'(s) {
    await s.publish(['held'])
    await s.takeOne({ visibilityMs: s.units(1) })
    const waiting = timed(s.reserve({ waitMs: 8_000 }, await s.connect()))
    await s.advance(1)
    const { value, ms } = await waiting
    assert.deepEqual(texts(value), ['held'])
    assert.equal(value[0]?.deliveries, 1)
    assert.ok(ms < 4_000, `it took ${ms} ms`)
  },

  async 'an abort ends a wait early, and one from before lets it look once'(s) {
    const stop = new AbortController()
    const waiting = timed(s.reserve({ waitMs: 8_000, signal: stop.signal }))
    await asleep(s.units(0.4))
    stop.abort()
    const { value, ms } = await waiting
    assert.deepEqual(value, [])
    assert.ok(ms < 4_000, `it took ${ms} ms`)
    const again = await timed(s.reserve({ waitMs: 8_000, signal: stop.signal }))
    assert.deepEqual(again.value, [])
    assert.ok(again.ms < 4_000, `it took ${again.ms} ms`)
    await s.publish(['there'])
    assert.deepEqual(texts(await s.take(1)), ['there'], 'no wait that has ended takes it')
  },

  async 'one message ends one wait of many, and is handed to that one alone'(s) {
    const consumers = await s.connections(5)
    const waiting = consumers.map((consumer) => s.reserve({ waitMs: s.units(3) }, consumer))
    await asleep(s.units(0.4))
    await s.publish(['only'])
    assert.deepEqual(texts((await Promise.all(waiting)).flat()), ['only'])
  },

  async 'a wait holds up no other call of its connection'(s) {
    const waiting = s.reserve({ queues: [s.other], waitMs: s.units(6) })
    const { ms } = await timed(
      (async () => {
        await s.publish(['a'])
        assert.deepEqual(await s.transport.ack(await s.take(1)), ['done'])
      })(),
    )
    assert.ok(ms < s.units(6), `it took ${ms} ms`)
    await s.publish(['b'], { queue: s.other })
    assert.deepEqual(texts(await waiting), ['b'])
  },
}

/** Real time, for a wait to have begun. */
const asleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.min(ms, 100)))
