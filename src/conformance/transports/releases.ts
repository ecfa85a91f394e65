// Conformance: messages given back, changed, moved to another queue, or set aside.
import assert from 'node:assert/strict'
import type { TransportCases } from './scene.ts'
import { bytes, texts } from './scene.ts'

export const RELEASES: TransportCases = {
  async 'a released message is there again at once, at the end of its queue'(s) {
    await s.publish(['a', 'b'])
    const a = await s.takeOne()
    assert.deepEqual(await s.transport.release([{ delivery: a }]), ['done'])
    const taken = await s.take(2)
    assert.deepEqual(texts(taken), ['b', 'a'])
    assert.deepEqual(
      taken.map(({ deliveries }) => deliveries),
      [0, 0],
    )
    assert.deepEqual(await s.transport.ack(taken), ['done', 'done'])
    await s.none()
  },

  async 'its body may be changed'(s) {
    await s.publish(['{"attempts":0}'])
    const changed = new Uint8Array([0, 0xff, 7])
    assert.deepEqual(await s.transport.release([{ delivery: await s.takeOne(), body: changed }]), ['done'])
    const again = await s.takeOne()
    assert.deepEqual([...again.body], [...changed])
    assert.deepEqual(await s.transport.release([{ delivery: again, body: bytes('') }]), ['done'])
    assert.deepEqual([...(await s.takeOne()).body], [])
  },

  async 'it may go to another queue, changed and delayed'(s) {
    await s.publish(['a'])
    const delivery = await s.takeOne()
    const release = { delivery, queue: s.other, body: bytes('a, elsewhere'), delayMs: s.units(2) }
    assert.deepEqual(await s.transport.release([release]), ['done'])
    const both = { queues: [s.queue, s.other] }
    await s.none(both)
    await s.advance(2)
    const moved = await s.takeOne(both)
    assert.equal(moved.queue, s.other)
    assert.deepEqual(texts([moved]), ['a, elsewhere'])
    assert.deepEqual(await s.transport.release([{ delivery: moved, queue: s.queue }]), ['done'])
    await s.none({ queues: [s.other] })
    assert.deepEqual(texts(await s.take(1)), ['a, elsewhere'])
  },

  async 'its deliveries start again at 0'(s) {
    await s.publish(['x'])
    await s.takeOne({ visibilityMs: s.units(0.5) })
    await s.advance(0.5)
    const second = await s.takeOne({ visibilityMs: s.units(0.5) })
    assert.equal(second.deliveries, 1)
    await s.advance(0.5)
    const third = await s.takeOne()
    assert.equal(third.deliveries, 2)
    assert.deepEqual(await s.transport.release([{ delivery: third }]), ['done'])
    const fourth = await s.takeOne({ visibilityMs: s.units(0.5) })
    assert.equal(fourth.deliveries, 0)
    await s.advance(0.5)
    assert.equal((await s.takeOne()).deliveries, 1)
  },

  async 'a dead letter lies in <queue>.dlq, as it was'(s) {
    const body = new Uint8Array([0xff, 0, 1])
    await s.publish([body])
    assert.deepEqual(await s.transport.deadLetter([{ delivery: await s.takeOne() }]), ['done'])
    await s.none()
    const dead = await s.takeOne({ queues: [s.dead] })
    assert.equal(dead.queue, s.dead)
    assert.equal(dead.deliveries, 0)
    assert.deepEqual([...dead.body], [...body])
    // Back to where it came from, which is what a replay does.
    assert.deepEqual(await s.transport.release([{ delivery: dead, queue: s.queue }]), ['done'])
    assert.deepEqual([...(await s.takeOne()).body], [...body])
  },

  async 'a dead letter may be changed'(s) {
    await s.publish(['plain'])
    const delivery = await s.takeOne()
    assert.deepEqual(await s.transport.deadLetter([{ delivery, body: bytes('with a reason') }]), ['done'])
    assert.deepEqual(texts(await s.drain(s.dead)), ['with a reason'])
    await s.none()
  },

  async 'a released or dead message wakes those who wait for it'(s) {
    await s.publish(['a', 'b'])
    const [a, b] = await s.take(2)
    assert.ok(a && b)
    const [one, two] = await s.connections(2)
    const began = performance.now()
    const waiting = Promise.all([
      s.reserve({ queues: [s.other], waitMs: 8_000 }, one),
      s.reserve({ queues: [s.dead], waitMs: 8_000 }, two),
    ])
    await s.transport.release([{ delivery: a, queue: s.other }])
    await s.transport.deadLetter([{ delivery: b }])
    assert.deepEqual(texts((await waiting).flat()), ['a', 'b'])
    assert.ok(performance.now() - began < 4_000)
  },
}
