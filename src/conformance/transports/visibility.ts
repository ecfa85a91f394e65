// Conformance: what a consumer holds for too long, or loses with its connection, is handed out again and counted.
import assert from 'node:assert/strict'
import { isDeferqError } from '../../base/errors.ts'
import type { TransportCases } from './scene.ts'
import { bytes, texts } from './scene.ts'

export const VISIBILITY: TransportCases = {
  async 'a message in a consumer’s hands is handed to nobody else'(s) {
    const other = await s.connect()
    await s.publish(['held'])
    const held = await s.takeOne()
    assert.equal(held.deliveries, 0)
    await s.none()
    await s.none({}, other)
    assert.deepEqual(await s.transport.ack([held]), ['done'])
    await s.none({}, other)
  },

  async 'once its visibility is over it is handed out again, and counted'(s) {
    await s.publish(['poison'])
    for (let deliveries = 0; deliveries < 4; deliveries++) {
      const taken = await s.takeOne({ visibilityMs: s.units(1) })
      assert.deepEqual(texts([taken]), ['poison'])
      assert.equal(taken.deliveries, deliveries)
      await s.none()
      await s.advance(1)
    }
    const last = await s.takeOne()
    assert.equal(last.deliveries, 4)
    assert.deepEqual(await s.transport.ack([last]), ['done'])
  },

  async 'what comes back takes its old place, before what was published after it'(s) {
    await s.publish(['a', 'b'])
    await s.take(2, { visibilityMs: s.units(1) })
    await s.publish(['c'])
    await s.advance(1)
    assert.deepEqual(texts(await s.take(3)), ['a', 'b', 'c'])
  },

  async 'a heartbeat keeps it, from now on'(s) {
    await s.publish(['long'])
    const held = await s.takeOne({ visibilityMs: s.units(2) })
    for (let beat = 0; beat < 4; beat++) {
      await s.advance(1)
      assert.deepEqual(await s.transport.extend([held], s.units(2)), ['done'])
      await s.none()
    }
    assert.deepEqual(await s.transport.ack([held]), ['done'])
    await s.none()
  },

  async 'a heartbeat may shorten it, too'(s) {
    await s.publish(['short'])
    const held = await s.takeOne({ visibilityMs: s.units(40) })
    assert.deepEqual(await s.transport.extend([held], s.units(1)), ['done'])
    await s.advance(1)
    assert.equal((await s.takeOne()).deliveries, 1)
    assert.deepEqual(await s.transport.ack([held]), ['lost'])
  },

  async 'closing hands back at once what is held, and only that'(s) {
    const [leaving, staying] = await s.connections(2)
    assert.ok(leaving && staying)
    await s.publish(['a', 'b', 'c', 'd'])
    const [a] = await s.take(1, {}, leaving)
    const b = await s.takeOne({}, staying)
    const c = await s.takeOne({}, leaving)
    assert.ok(a)
    assert.deepEqual(await leaving.ack([a]), ['done'])
    await leaving.close()
    const taken = await s.take(2)
    assert.deepEqual(
      taken.map(({ deliveries, ...message }) => [texts([message])[0], deliveries]).sort(),
      [
        ['c', 1],
        ['d', 0],
      ],
      'of what it held, only c was not acked',
    )
    assert.deepEqual(texts([c]), ['c'])
    await s.none()
    assert.deepEqual(await staying.ack([b]), ['done'])
  },

  async 'a closed connection refuses, and opening and closing may be repeated'(s) {
    const transport = await s.connect()
    await transport.open()
    await transport.close()
    await transport.close()
    const refused = (error: unknown): boolean => isDeferqError(error, 'CLOSED')
    await assert.rejects(transport.publish([{ queue: s.queue, body: bytes('x') }]), refused)
    await assert.rejects(transport.reserve(s.want()), refused)
    await assert.rejects(transport.open(), refused)
    await s.none()
  },

  async 'closing ends a wait'(s) {
    const transport = await s.connect()
    const began = performance.now()
    // Nothing, or a refusal: either ends the wait.
    const waiting = s.reserve({ waitMs: 8_000 }, transport).catch((error: unknown) => {
      if (!isDeferqError(error, 'CLOSED')) throw error
      return []
    })
    await new Promise((resolve) => setTimeout(resolve, 50))
    await transport.close()
    assert.deepEqual(await waiting, [])
    assert.ok(performance.now() - began < 4_000)
    await s.publish(['still there'])
    assert.deepEqual(texts(await s.take(1)), ['still there'])
  },
}
