// Conformance: messages come out as they went in, and in the order in which they did.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { TransportCases } from './scene.ts'
import { bytes, texts } from './scene.ts'

const PROPERTIES = {
  type: 'urn:orders:created',
  messageId: '0f8b5a4e-6d0e-4c57-9a0e-2f1f6f7c9a11',
  correlationId: 'trace-1',
  appId: 'deferq',
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  headers: { 'x-attempts': 2, 'x-source-lang': 'node' },
}

export const BYTES: TransportCases = {
  async 'the bytes handed out are the bytes published'(s) {
    const bodies = [
      '',
      '{"a":1}',
      'ünïcode 🐘\0 and a NUL',
      new Uint8Array([0xff, 0xfe, 0x00, 0x80, 0xc3, 0x28]),
      Uint8Array.from({ length: 256 }, (_, byte) => byte),
      randomBytes(1_000_000),
    ].map(bytes)
    await s.publish(bodies)
    const taken = await s.take(bodies.length)
    for (const [index, { body }] of taken.entries()) {
      assert.ok(body instanceof Uint8Array)
      assert.ok(Buffer.from(body).equals(bodies[index] as Uint8Array), `body ${index} is not what it was`)
    }
  },

  async 'a batch of large messages is taken whole, in order'(s) {
    const bodies = Array.from({ length: 12 }, (_, index) => Buffer.alloc(700_000, index))
    await s.publish(bodies)
    const taken = await s.take(bodies.length)
    assert.ok(taken.every(({ body }, index) => body.length === 700_000 && body[699_999] === index))
    const changed = taken.map((delivery) => ({ delivery, body: delivery.body.fill(99) }))
    assert.deepEqual([...new Set(await s.transport.release(changed))], ['done'])
    const again = await s.take(bodies.length)
    assert.ok(again.every(({ body }) => body.length === 700_000 && body[699_999] === 99))
    assert.deepEqual([...new Set(await s.transport.ack(again))], ['done'])
  },

  async 'what the publisher or a consumer does to its bytes afterwards changes nothing'(s) {
    const body = bytes('mine')
    await s.publish([body])
    body.fill(0)
    const first = await s.takeOne({ visibilityMs: s.units(1) })
    assert.deepEqual(texts([first]), ['mine'])
    first.body.fill(0)
    await s.advance(1)
    assert.deepEqual(texts(await s.take(1)), ['mine'])
  },

  async 'properties travel beside the body'(s) {
    await s.publish(['with'], { properties: PROPERTIES })
    const first = await s.takeOne()
    assert.deepEqual(first.properties, PROPERTIES)
    await s.transport.release([{ delivery: first }])
    const second = await s.takeOne()
    assert.deepEqual(second.properties, PROPERTIES, 'a release keeps them')
    const headers = { 'x-attempts': 3 }
    await s.transport.release([{ delivery: second, properties: { ...PROPERTIES, headers } }])
    const third = await s.takeOne()
    assert.deepEqual(third.properties, { ...PROPERTIES, headers }, 'or changes them')
    await s.transport.deadLetter([{ delivery: third }])
    assert.deepEqual((await s.takeOne({ queues: [s.dead] })).properties, { ...PROPERTIES, headers })
  },

  async 'first in, first out'(s) {
    const names = Array.from({ length: 30 }, (_, index) => `m${index}`)
    await s.publish(names.slice(0, 10))
    for (const name of names.slice(10, 20)) await s.publish([name])
    await s.publish(names.slice(20))
    const first = await s.take(7)
    assert.deepEqual(texts([...first, ...(await s.take(23))]), names)
    await s.none()
  },

  async 'at most the limit is handed out'(s) {
    await s.publish(['a', 'b', 'c', 'd', 'e'])
    assert.equal((await s.reserve({ limit: 2 })).length, 2)
    assert.equal((await s.reserve({ limit: 2 })).length, 2)
    assert.equal((await s.reserve({ limit: 2 })).length, 1)
    await s.none()
  },

  async 'queues are apart, and the earlier ones of a reservation come first'(s) {
    await s.publish(['b1', 'b2', 'b3'], { queue: s.other })
    await s.publish(['a1', 'a2'])
    const both = [s.queue, s.other]
    const taken = await s.take(3, { queues: both })
    assert.deepEqual(texts(taken), ['a1', 'a2', 'b1'])
    assert.deepEqual(
      taken.map(({ queue }) => queue),
      [s.queue, s.queue, s.other],
    )
    await s.none()
    await s.publish(['a3'])
    assert.deepEqual(texts(await s.take(3, { queues: both })), ['a3', 'b2', 'b3'])
  },

  async 'a batch may go to several queues'(s) {
    await s.transport.publish([
      { queue: s.queue, body: bytes('a1') },
      { queue: s.other, body: bytes('b1') },
      { queue: s.queue, body: bytes('a2') },
    ])
    assert.deepEqual(texts(await s.take(2)), ['a1', 'a2'])
    assert.deepEqual(texts(await s.take(1, { queues: [s.other] })), ['b1'])
  },

  async 'two identical bodies are two messages'(s) {
    await s.publish(['same', 'same', 'same'])
    const taken = await s.take(3, { visibilityMs: s.units(40) })
    assert.equal(new Set(taken.map(({ token }) => token)).size, 3)
    const [a, b, c] = taken
    assert.ok(a && b && c)
    assert.deepEqual(await s.transport.ack([b]), ['done'])
    assert.deepEqual(await s.transport.release([{ delivery: c, body: bytes('changed') }]), ['done'])
    assert.deepEqual(await s.transport.extend([a, b, c], s.units(40)), ['done', 'lost', 'lost'])
    assert.deepEqual(texts(await s.take(1)), ['changed'])
    await s.none()
    assert.deepEqual(await s.transport.ack([a]), ['done'])
  },
}
