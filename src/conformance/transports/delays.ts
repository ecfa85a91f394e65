// Conformance: delayed messages come when they are due, and never before.
import assert from 'node:assert/strict'
import type { TransportCases } from './scene.ts'
import { texts } from './scene.ts'

export const DELAYS: TransportCases = {
  async 'a delayed message is not handed out early, and is once it is due'(s) {
    await s.publish(['later'], { delayMs: s.units(4) })
    await s.publish(['now'])
    assert.deepEqual(texts(await s.take(1)), ['now'])
    await s.none()
    await s.advance(1)
    await s.none()
    await s.advance(3)
    const late = await s.takeOne()
    assert.deepEqual(texts([late]), ['later'])
    assert.equal(late.deliveries, 0)
    assert.deepEqual(await s.transport.ack([late]), ['done'])
  },

  async 'delayed messages come in the order in which they are due'(s) {
    await s.publish(['third'], { delayMs: s.units(3) })
    await s.publish(['first'], { delayMs: s.units(1) })
    await s.publish(['second'], { delayMs: s.units(2) })
    await s.advance(3)
    assert.deepEqual(texts(await s.take(3)), ['first', 'second', 'third'])
  },

  async 'messages with one delay keep the order in which they were published'(s) {
    const names = Array.from({ length: 12 }, (_, index) => `m${index}`)
    await s.publish(names, { delayMs: s.units(1) })
    await s.advance(1)
    assert.deepEqual(texts(await s.take(12)), names)
  },

  async 'two delayed messages with the same bytes are two'(s) {
    await s.publish(['same', 'same'], { delayMs: s.units(1) })
    await s.publish(['same'], { delayMs: s.units(1) })
    await s.advance(1)
    assert.equal((await s.take(3)).length, 3)
  },

  async 'a delay outlives the connection that published'(s) {
    const producer = await s.connect()
    await producer.publish([{ queue: s.queue, body: new Uint8Array([1, 2]), delayMs: s.units(1) }])
    await producer.close()
    await s.advance(1)
    assert.deepEqual([...(await s.takeOne()).body], [1, 2])
  },

  async 'a released message is delayed in the same way'(s) {
    await s.publish(['again'])
    const first = await s.takeOne()
    assert.deepEqual(await s.transport.release([{ delivery: first, delayMs: s.units(3) }]), ['done'])
    await s.none()
    await s.advance(1)
    await s.none()
    await s.advance(2)
    const second = await s.takeOne()
    assert.deepEqual(texts([second]), ['again'])
    assert.equal(second.deliveries, 0)
  },
}
