// Conformance: batches are answered item by item, and within their bound.
import assert from 'node:assert/strict'
import { isDeferqError } from '../../base/errors.ts'
import { MAX_BATCH } from '../../contract/engine.ts'
import type { TransportCases } from './scene.ts'
import { bytes, texts } from './scene.ts'

export const BATCHES: TransportCases = {
  async 'an item that is lost does not disturb the others'(s) {
    await s.publish(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])
    const taken = await s.take(8)
    const [a, b, c, d, e, f, g, h] = taken
    assert.ok(a && b && c && d && e && f && g && h)
    assert.deepEqual(await s.transport.ack([b]), ['done'])
    assert.deepEqual(await s.transport.ack([a, b, c]), ['done', 'lost', 'done'])
    assert.deepEqual(await s.transport.extend([d, a, e], s.units(40)), ['done', 'lost', 'done'])
    assert.deepEqual(
      await s.transport.release([
        { delivery: a },
        { delivery: d },
        { delivery: c, queue: s.other },
        { delivery: e, queue: s.other },
      ]),
      ['lost', 'done', 'lost', 'done'],
    )
    assert.deepEqual(await s.transport.deadLetter([{ delivery: f }, { delivery: d }, { delivery: g }]), [
      'done',
      'lost',
      'done',
    ])
    assert.deepEqual(texts(await s.drain()), ['d'])
    assert.deepEqual(texts(await s.drain(s.other)), ['e'])
    assert.deepEqual(texts(await s.drain(s.dead)), ['f', 'g'])
    assert.deepEqual(await s.transport.ack([h]), ['done'])
  },

  async 'the same delivery twice in a batch is done once'(s) {
    await s.publish(['a', 'b', 'c'])
    const [a, b, c] = await s.take(3)
    assert.ok(a && b && c)
    assert.deepEqual(await s.transport.ack([a, a]), ['done', 'lost'])
    assert.deepEqual(await s.transport.release([{ delivery: b }, { delivery: b }]), ['done', 'lost'])
    assert.deepEqual(await s.transport.deadLetter([{ delivery: c }, { delivery: c }]), ['done', 'lost'])
    assert.deepEqual(texts(await s.drain()), ['b'])
    assert.deepEqual(texts(await s.drain(s.dead)), ['c'])
  },

  async 'a batch may hold deliveries of several queues'(s) {
    await s.publish(['a'])
    await s.publish(['b'], { queue: s.other })
    const taken = await s.take(2, { queues: [s.queue, s.other] })
    assert.deepEqual(await s.transport.extend(taken, s.units(40)), ['done', 'done'])
    assert.deepEqual(await s.transport.deadLetter(taken.map((delivery) => ({ delivery }))), ['done', 'done'])
    assert.deepEqual(texts(await s.drain(s.dead)), ['a'])
    assert.deepEqual(texts(await s.drain(`${s.other}.dlq`)), ['b'])
  },

  async 'an empty batch is answered empty'(s) {
    await s.transport.publish([])
    assert.deepEqual(await s.transport.ack([]), [])
    assert.deepEqual(await s.transport.release([]), [])
    assert.deepEqual(await s.transport.deadLetter([]), [])
    assert.deepEqual(await s.transport.extend([], 1_000), [])
  },

  async 'a full batch is taken, and one more is refused'(s) {
    const names = Array.from({ length: MAX_BATCH }, (_, index) => `m${index}`)
    await s.publish(names)
    const taken = await s.take(MAX_BATCH)
    assert.deepEqual(texts(taken), names)
    const again = taken.slice(0, MAX_BATCH / 2)
    assert.ok((await s.transport.extend(taken, s.units(40))).every((answer) => answer === 'done'))
    const released = await s.transport.release(again.map((delivery) => ({ delivery })))
    assert.ok(released.length === again.length && released.every((answer) => answer === 'done'))
    const acked = await s.transport.ack(taken)
    assert.deepEqual([...new Set(acked.slice(0, MAX_BATCH / 2))], ['lost'])
    assert.deepEqual([...new Set(acked.slice(MAX_BATCH / 2))], ['done'])
    assert.deepEqual(texts(await s.drain()), names.slice(0, MAX_BATCH / 2))

    const refused = (error: unknown): boolean => isDeferqError(error, 'INVALID_OPTION')
    const [one] = taken
    assert.ok(one)
    const many = Array.from({ length: MAX_BATCH + 1 }, () => one)
    await assert.rejects(s.publish([...names, 'one more']), refused)
    await assert.rejects(s.transport.ack(many), refused)
    await assert.rejects(s.transport.extend(many, 1_000), refused)
    await assert.rejects(s.transport.release(many.map((delivery) => ({ delivery }))), refused)
    await assert.rejects(s.transport.deadLetter(many.map((delivery) => ({ delivery }))), refused)
    await assert.rejects(s.reserve({ limit: MAX_BATCH + 1 }), refused)
    await s.none()
  },

  async 'what makes no sense is refused, and nothing of its batch is stored'(s) {
    const refused = (error: unknown): boolean => isDeferqError(error, 'INVALID_OPTION')
    const good = { queue: s.queue, body: bytes('good') }
    await assert.rejects(s.transport.publish([good, { ...good, queue: '' }]), refused)
    await assert.rejects(s.transport.publish([good, { ...good, queue: 'a\nb' }]), refused)
    await assert.rejects(s.transport.publish([good, { ...good, queue: 'x'.repeat(300) }]), refused)
    await assert.rejects(s.transport.publish([good, { ...good, delayMs: -1 }]), refused)
    await assert.rejects(s.transport.publish([good, { ...good, delayMs: Number.NaN }]), refused)
    await assert.rejects(s.reserve({ limit: 0 }), refused)
    await assert.rejects(s.reserve({ limit: 1.5 }), refused)
    await assert.rejects(s.reserve({ visibilityMs: 0 }), refused)
    await assert.rejects(s.reserve({ waitMs: -1 }), refused)
    await assert.rejects(s.reserve({ queues: [''] }), refused)
    await assert.rejects(s.transport.peek(s.queue, 0), refused)
    await s.none()
  },
}
