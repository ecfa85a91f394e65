// Conformance: many connections at once, over real connections where the transport has them.
import assert from 'node:assert/strict'
import type { Answer, Delivery, Transport } from '../../contract/transport.ts'
import type { TransportCases, TransportScene } from './scene.ts'
import { bytes, text, texts } from './scene.ts'

/** Takes until all are told to be there; what it takes it acks. */
async function consume(
  s: TransportScene,
  transport: Transport,
  limit: number,
  taken: Delivery[],
  all: number,
): Promise<void> {
  while (taken.length < all) {
    const found = await s.reserve({ limit, waitMs: s.units(0.5) }, transport)
    taken.push(...found)
    const answers = await transport.ack(found)
    assert.deepEqual([...new Set(answers)], found.length === 0 ? [] : ['done'])
  }
}

const named = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`)

/** Each of them once; as sorted text, so that a failure shows which. */
function once(taken: readonly Delivery[], names: readonly string[]): void {
  assert.deepEqual(texts(taken).sort(), [...names].sort())
}

export const RACES: TransportCases = {
  async 'of fifty consumers at once, each message has exactly one'(s) {
    const consumers = await s.connections(50)
    const names = named('m', 300)
    await s.publish(names)
    const found = await Promise.all(consumers.map((consumer) => s.reserve({ limit: 4 }, consumer)))
    const taken = found.flat()
    assert.equal(new Set(texts(taken)).size, taken.length, 'none is handed to two')
    await Promise.all(
      consumers.map(async (consumer, index) => {
        const own = found[index] ?? []
        const answers = await consumer.ack(own)
        assert.ok(answers.every((answer) => answer === 'done'))
      }),
    )
    await Promise.all(consumers.slice(0, 10).map((consumer) => consume(s, consumer, 5, taken, 300)))
    once(taken, names)
    await s.none()
  },

  async 'publishers and consumers at once: nothing is lost, nothing is handed out twice'(s) {
    const [producers, consumers] = await Promise.all([s.connections(6), s.connections(6)])
    const names = producers.flatMap((_, producer) => named(`p${producer}-`, 60))
    const taken: Delivery[] = []
    await Promise.all([
      ...producers.map(async (producer, index) => {
        for (let start = 0; start < 60; start += 5) {
          const bodies = names.slice(index * 60 + start, index * 60 + start + 5)
          await producer.publish(bodies.map((name) => ({ queue: s.queue, body: bytes(name) })))
        }
      }),
      ...consumers.map((consumer, index) => consume(s, consumer, 1 + (index % 3) * 4, taken, names.length)),
    ])
    once(taken, names)
    await s.none()
  },

  async 'delayed messages that fall due at once have one consumer each'(s) {
    const consumers = await s.connections(8)
    const names = named('d', 60)
    await s.publish(names, { delayMs: s.units(1) })
    await s.advance(1)
    const taken: Delivery[] = []
    await Promise.all(consumers.map((consumer) => consume(s, consumer, 3, taken, names.length)))
    once(taken, names)
    await s.none()
  },

  async 'messages that come back to many who look have one consumer each'(s) {
    const consumers = await s.connections(8)
    const names = named('b', 80)
    await s.publish(names)
    await s.take(80, { visibilityMs: s.units(1) })
    await s.advance(1)
    const found = await Promise.all(consumers.map((consumer) => s.reserve({ limit: 80 }, consumer)))
    const taken = found.flat()
    assert.equal(new Set(texts(taken)).size, taken.length, 'none is handed to two')
    for (const [index, consumer] of consumers.entries()) {
      const answers = await consumer.ack(found[index] ?? [])
      assert.ok(answers.every((answer) => answer === 'done'))
    }
    await Promise.all(consumers.map((consumer) => consume(s, consumer, 10, taken, names.length)))
    once(taken, names)
    assert.deepEqual([...new Set(taken.map(({ deliveries }) => deliveries))], [1])
    await s.none()
  },

  async 'releases that race with the end of their visibility leave one of each message'(s) {
    const [late, other] = await s.connections(2)
    assert.ok(late && other)
    const names = named('r', 24)
    await s.publish(names)
    const held = await s.take(24, { visibilityMs: s.units(0.6) }, late)
    // Up to the moment itself, so that some releases come before the end and some after it.
    await s.advance(0.6 - 5 / s.units(1))
    const again: Delivery[] = []
    const [answers]: [Answer[][], unknown] = await Promise.all([
      Promise.all(held.map((delivery) => late.release([{ delivery, delayMs: 1 }]))),
      (async () => {
        for (let look = 0; look < 10; look++) again.push(...(await s.reserve({ limit: 5 }, other)))
      })(),
    ])
    await s.advance(0.1)
    again.push(...(await s.take(24 - again.length, {}, other)))
    once(again, names)
    const released = new Set(held.filter((_, index) => answers[index]?.[0] === 'done').map(text))
    // What a broker hands out and takes back within a look may count as well, so that a released one need not say 0 here.
    for (const delivery of again) {
      const least = released.has(text(delivery)) ? 0 : 1
      assert.ok(
        delivery.deliveries >= least && delivery.deliveries <= 1,
        `${text(delivery)}: ${delivery.deliveries}`,
      )
    }
    await other.ack(again)
    await s.none()
  },

  async 'of several who give the same delivery back, one is heard'(s) {
    await s.publish(named('x', 12))
    const held = await s.take(12)
    const answers = await Promise.all(
      held.map((delivery) =>
        Promise.all([
          s.transport.ack([delivery]),
          s.transport.release([{ delivery, queue: s.other }]),
          s.transport.deadLetter([{ delivery }]),
        ]),
      ),
    )
    for (const each of answers) assert.deepEqual(each.flat().sort(), ['done', 'lost', 'lost'])
    const left = [...(await s.drain()), ...(await s.drain(s.other)), ...(await s.drain(s.dead))]
    const acked = answers.filter(([[ack]]) => ack === 'done').length
    assert.equal(left.length, 12 - acked)
    assert.equal(new Set(texts(left)).size, left.length)
  },

  async 'heartbeats that race with others’ looks keep what they hold'(s) {
    const [holder, other] = await s.connections(2)
    assert.ok(holder && other)
    await s.publish(named('h', 10))
    const held = await s.take(10, { visibilityMs: s.units(2) }, holder)
    for (let beat = 0; beat < 6; beat++) {
      await s.advance(0.5)
      const looking = s.none({ limit: 5 }, other)
      const answers = await holder.extend(held, s.units(2))
      await looking
      assert.deepEqual([...new Set(answers)], ['done'])
    }
    assert.deepEqual([...new Set(await holder.ack(held))], ['done'])
    await s.none()
  },
}
