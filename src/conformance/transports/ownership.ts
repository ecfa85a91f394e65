// Conformance: whose visibility has passed owns nothing, and what it says afterwards changes nothing.
import assert from 'node:assert/strict'
import type { Answer, Delivery, Transport } from '../../contract/transport.ts'
import type { TransportCases, TransportScene } from './scene.ts'
import { bytes, texts } from './scene.ts'

const ATTEMPTS: Record<string, (t: Transport, late: Delivery, s: TransportScene) => Promise<Answer[]>> = {
  ack: (t, late) => t.ack([late]),
  'a release': (t, late) => t.release([{ delivery: late, body: bytes('late') }]),
  'a delayed release': (t, late, s) => t.release([{ delivery: late, delayMs: s.units(0.1) }]),
  'a release to another queue': (t, late, s) => t.release([{ delivery: late, queue: s.other }]),
  'a dead letter': (t, late) => t.deadLetter([{ delivery: late, body: bytes('late') }]),
  'a heartbeat': (t, late, s) => t.extend([late], s.units(40)),
}

const LATE = Object.fromEntries(
  Object.entries(ATTEMPTS).flatMap(([what, attempt]): [string, (s: TransportScene) => Promise<void>][] => [
    [
      `${what} by a token whose visibility has passed is lost, before anybody holds it anew`,
      async (s) => {
        await s.publish(['one'])
        const late = await s.takeOne({ visibilityMs: s.units(0.5) })
        await s.advance(0.5)
        assert.deepEqual(await attempt(s.transport, late, s), ['lost'])
        await untouched(s, await s.takeOne(), s.transport)
      },
    ],
    [
      `${what} by a token whose visibility has passed is lost, while another consumer holds it`,
      async (s) => {
        await s.publish(['one'])
        const late = await s.takeOne({ visibilityMs: s.units(0.5) })
        await s.advance(0.5)
        const successor = await s.connect()
        const holder = await s.takeOne({}, successor)
        assert.deepEqual(await attempt(s.transport, late, s), ['lost'])
        await untouched(s, holder, successor)
      },
    ],
  ]),
)

/** The message is still this holder's, there is one of it, and it lies nowhere else. */
async function untouched(s: TransportScene, held: Delivery, holder: Transport): Promise<void> {
  assert.deepEqual(texts([held]), ['one'])
  assert.equal(held.deliveries, 1)
  await s.advance(0.2)
  await s.none({ queues: [s.queue, s.other, s.dead] })
  assert.deepEqual(await holder.ack([held]), ['done'])
  await s.none({ queues: [s.queue, s.other, s.dead] })
}

export const OWNERSHIP: TransportCases = {
  ...LATE,

  async 'a holder is not disturbed by the late words of another'(s) {
    await s.publish(['one'])
    const late = await s.takeOne({ visibilityMs: s.units(0.5) })
    await s.advance(0.5)
    const successor = await s.connect()
    const holder = await s.takeOne({ visibilityMs: s.units(40) }, successor)
    assert.deepEqual(await s.transport.extend([late], s.units(0.1)), ['lost'])
    assert.deepEqual(await s.transport.ack([late]), ['lost'])
    await s.advance(0.2)
    assert.deepEqual(await successor.extend([holder], s.units(40)), ['done'])
    assert.deepEqual(await successor.ack([holder]), ['done'])
    await s.none({ queues: [s.queue, s.other, s.dead] })
  },

  async 'what was given back once can’t be given back again'(s) {
    await s.publish(['a', 'b', 'c'])
    const [a, b, c] = await s.take(3)
    assert.ok(a && b && c)
    assert.deepEqual(await s.transport.ack([a]), ['done'])
    assert.deepEqual(await s.transport.release([{ delivery: b }]), ['done'])
    assert.deepEqual(await s.transport.deadLetter([{ delivery: c }]), ['done'])
    for (const delivery of [a, b, c]) {
      assert.deepEqual(await s.transport.ack([delivery]), ['lost'])
      assert.deepEqual(await s.transport.release([{ delivery }]), ['lost'])
      assert.deepEqual(await s.transport.deadLetter([{ delivery }]), ['lost'])
      assert.deepEqual(await s.transport.extend([delivery], s.units(1)), ['lost'])
    }
    assert.deepEqual(texts(await s.drain()), ['b'])
    assert.deepEqual(texts(await s.drain(s.dead)), ['c'])
  },

  async 'a token that never was is lost'(s) {
    await s.publish(['one'])
    const held = await s.takeOne()
    for (const token of ['', 'x', `${held.token}x`, held.token.slice(0, -1)]) {
      const forged = { ...held, token }
      assert.deepEqual(await s.transport.ack([forged]), ['lost'])
      assert.deepEqual(await s.transport.extend([forged], s.units(1)), ['lost'])
      assert.deepEqual(await s.transport.release([{ delivery: forged }]), ['lost'])
      assert.deepEqual(await s.transport.deadLetter([{ delivery: forged }]), ['lost'])
    }
    assert.deepEqual(await s.transport.ack([held]), ['done'])
    await s.none({ queues: [s.queue, s.dead] })
  },
}
