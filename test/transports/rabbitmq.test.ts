// What is particular to RabbitMQ: what lies on the wire, queues of others, delays, and brokers that refuse.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { Channel, ConsumeMessage, Options } from 'amqplib'
import { connect } from 'amqplib'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { eventually } from '../../src/conformance/scene.ts'
import type { Delivery, Reservation } from '../../src/contract/transport.ts'
import { judge } from '../../src/transports/rabbitmq/faults.ts'
import { RabbitmqTransport } from '../../src/transports/rabbitmq/index.ts'
import { readUrl } from '../../src/transports/rabbitmq/url.ts'
import { sharedUrlOnDemand } from '../servers/shared.ts'

let url: string
let transport: RabbitmqTransport
let bare: Channel
let queue: string
const ends: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  url = await sharedUrlOnDemand('rabbitmq')
})
beforeEach(async () => {
  queue = `rabbit-${Math.random().toString(36).slice(2)}`
  transport = open()
  const client = await connect(url, { noDelay: true })
  ends.push(() => client.close())
  bare = await client.createChannel()
})
afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()))
})

function open(options: { url?: string } = {}): RabbitmqTransport {
  const opened = new RabbitmqTransport({ url, ...options })
  ends.push(() => opened.close())
  return opened
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = ({ body }: { body: Uint8Array }): string => new TextDecoder().decode(body)

async function take(count: number, want: Partial<Reservation> = {}, from = transport): Promise<Delivery[]> {
  const taken: Delivery[] = []
  await eventually(`${count} messages come`, async () => {
    const limit = count - taken.length
    taken.push(
      ...(await from.reserve({ queues: [queue], limit, visibilityMs: 60_000, waitMs: 200, ...want })),
    )
    return taken.length === count
  })
  return taken
}

async function takeOne(want?: Partial<Reservation>, from?: RabbitmqTransport): Promise<Delivery> {
  return (await take(1, want, from))[0] as Delivery
}

async function bareGet(from = queue): Promise<ConsumeMessage> {
  let found: unknown
  await eventually(`a message lies in ${from}`, async () => {
    found = await bare.get(from, { noAck: true })
    return found !== false
  })
  return found as ConsumeMessage
}

describe('on the wire', () => {
  const BODY = '{"job":"urn:babel:orders:created","data":{"id":7}}'
  const AMQP = {
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    type: 'urn:babel:orders:created',
    correlationId: '6f1d2c7e-8f5a-4a3b-9a55-0c8a8d1f2b11',
    messageId: '0f8b5a4e-6d0e-4c57-9a0e-2f1f6f7c9a11',
    appId: 'babelqueue',
    headers: { 'x-schema-version': 1, 'x-source-lang': 'php', 'x-attempts': 0 },
  }

  test('a bare client reads exactly the bytes, properties and headers, kept on disk', async () => {
    await transport.publish([{ queue, body: bytes(BODY), properties: AMQP }])
    const { content, properties } = await bareGet()
    expect(content.toString()).toBe(BODY)
    expect(properties).toMatchObject({ ...AMQP, deliveryMode: 2 })
    // Quorum queues add how often they have delivered it.
    expect(properties.headers).toEqual({ ...AMQP.headers, 'x-delivery-count': 0 })
    for (const name of ['replyTo', 'expiration', 'priority', 'timestamp', 'userId'] as const) {
      expect(properties[name]).toBeUndefined()
    }
  })

  test('a message of another SDK, in a quorum queue of its own making, is handed out as it is', async () => {
    await bare.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
    bare.sendToQueue(queue, Buffer.from(BODY), { ...AMQP, persistent: true })
    const delivery = await takeOne()
    expect(text(delivery)).toBe(BODY)
    expect(delivery).toMatchObject({ queue, deliveries: 0 })
    expect(delivery.properties).toEqual(AMQP)
    expect(await transport.ack([delivery])).toEqual(['done'])
  })

  test('a release keeps what our properties have no place for, and none of the broker’s own headers', async () => {
    await transport.publish([{ queue, body: bytes('first, so that the queue is there') }])
    await transport.ack(await take(1))
    const more: Options.Publish = { replyTo: 'answers', priority: 3, timestamp: 1_750_000_000 }
    const headers = { flag: true, list: [1, 'two'], 'x-attempts': 1 }
    bare.sendToQueue(queue, Buffer.from(BODY), { ...AMQP, ...more, headers })
    const delivery = await takeOne({ visibilityMs: 50 })
    expect(delivery.properties?.headers).toEqual({ 'x-attempts': 1 })
    const again = await takeOne()
    expect(again.deliveries).toBe(1)
    expect(await transport.release([{ delivery: again, delayMs: 100 }])).toEqual(['done'])
    const last = await takeOne()
    expect(last.deliveries).toBe(0)
    expect(await transport.release([{ delivery: last }])).toEqual(['done'])
    const { properties } = await bareGet()
    expect(properties).toMatchObject({ ...AMQP, ...more, headers: expect.anything(), deliveryMode: 2 })
    expect(properties.headers).toEqual({ ...headers, 'x-delivery-count': 0 })
  })

  test('properties that AMQP can’t carry are refused, and the next message goes out', async () => {
    const wide = { queue, body: bytes('x'), properties: { type: 'x'.repeat(300) } }
    await expect(transport.publish([wide])).rejects.toMatchObject({ code: 'INVALID_PARAMS' })
    await transport.publish([{ queue, body: bytes('fine') }])
    expect(text(await takeOne())).toBe('fine')
  })
})

describe('queues that are there already', () => {
  test('a classic queue is used: deliveries tells the first time from later ones', async () => {
    await bare.assertQueue(queue, { durable: true })
    await transport.publish([{ queue, body: bytes('a') }])
    expect(await takeOne({ visibilityMs: 50 })).toMatchObject({ deliveries: 0 })
    const again = await takeOne()
    expect(again.deliveries).toBe(1)
    expect(await transport.release([{ delivery: again }])).toEqual(['done'])
    const last = await takeOne()
    expect(last.deliveries).toBe(0)
    expect(await transport.deadLetter([{ delivery: last }])).toEqual(['done'])
    expect((await bareGet(`${queue}.dlq`)).content.toString()).toBe('a')
  })

  test.each<[string, Options.AssertQueue, string]>([
    ['is not durable', { durable: false }, 'durable'],
    [
      'drops what is old',
      { arguments: { 'x-queue-type': 'quorum', 'x-message-ttl': 60_000 } },
      'x-message-ttl',
    ],
    ['drops what is too much', { arguments: { 'x-max-length': 10 } }, 'x-max-length'],
    ['goes away by itself', { autoDelete: true }, 'auto_delete'],
    ['is a stream', { arguments: { 'x-queue-type': 'stream' } }, 'x-queue-type'],
  ])(
    'a queue that %s is refused by its name and argument, and others go on',
    async (_, options, argument) => {
      await bare.assertQueue(queue, options)
      const other = `${queue}-other`
      await transport.publish([{ queue: other, body: bytes('held') }])
      const held = await takeOne({ queues: [other] })
      const refused = {
        code: 'STORE_MISMATCH',
        message: expect.stringContaining(queue),
        details: { queue, argument },
      }
      await expect(transport.publish([{ queue, body: bytes('x') }])).rejects.toMatchObject(refused)
      await expect(takeOne()).rejects.toMatchObject(refused)
      await transport.publish([{ queue: other, body: bytes('goes on') }])
      expect(await transport.ack([held])).toEqual(['done'])
      expect(text(await takeOne({ queues: [other] }))).toBe('goes on')
    },
  )

  test('a queue that is deleted under their feet is made again by producer and waiting consumer', async () => {
    await transport.publish([{ queue, body: bytes('before') }])
    await transport.ack(await take(1))
    const waiting = open().reserve({ queues: [queue], limit: 1, visibilityMs: 60_000, waitMs: 10_000 })
    await eventually('it waits', async () => (await bare.checkQueue(queue)).consumerCount > 0)
    await bare.deleteQueue(queue)
    // The broker tells consumers a moment later; one of a queue that is there again by then would hear nothing.
    await eventually('the consumer has made it again, and waits', async () => {
      const other = await connect(url)
      try {
        const channel = await other.createChannel()
        channel.on('error', () => undefined)
        const asked = await channel.checkQueue(queue)
        return asked.consumerCount > 0
      } catch {
        return false
      } finally {
        await other.close()
      }
    })
    await transport.publish([{ queue, body: bytes('after') }])
    expect((await waiting).map(text)).toEqual(['after'])
    await bare.deleteQueue(queue)
    await transport.publish([
      { queue, body: bytes('1') },
      { queue, body: bytes('2') },
    ])
    expect((await take(2)).map(text)).toEqual(['1', '2'])
  })

  test('a hundred deliveries later the broker sets a message aside, and keeps it', async () => {
    await transport.publish([{ queue, body: bytes('poison') }])
    for (let times = 0; times <= 100; times++) {
      const found = await bare.get(queue)
      if (found === false) throw new Error(`gone after ${times} deliveries`)
      bare.nack(found)
      await bare.checkQueue(queue)
    }
    expect((await bareGet(`${queue}.dlq`)).content.toString()).toBe('poison')
  })
})

describe('delays', () => {
  test('a short delay is not held up by a longer one before it, nor early', async () => {
    const began = performance.now()
    await transport.publish([
      { queue, body: bytes('hours'), delayMs: 3_600_000 },
      { queue, body: bytes('700'), delayMs: 700 },
      { queue, body: bytes('300'), delayMs: 300 },
    ])
    const first = await takeOne()
    const firstMs = performance.now() - began
    const second = await takeOne()
    const secondMs = performance.now() - began
    expect([first, second].map(text)).toEqual(['300', '700'])
    expect(firstMs).toBeGreaterThanOrEqual(300)
    expect(secondMs).toBeGreaterThanOrEqual(700)
    expect(firstMs).toBeLessThan(2_000)
    expect(await transport.reserve({ queues: [queue], limit: 1, visibilityMs: 1_000 })).toEqual([])
  })

  test('a message may be delayed again and again by the same time', async () => {
    await transport.publish([{ queue, body: bytes('retried'), delayMs: 150 }])
    for (let round = 0; round < 4; round++) {
      const delivery = await takeOne()
      expect(delivery.properties).toBeUndefined()
      const began = performance.now()
      expect(await transport.release([{ delivery, delayMs: 150 }])).toEqual(['done'])
      const again = await takeOne()
      expect(performance.now() - began).toBeGreaterThanOrEqual(150)
      expect(await transport.release([{ delivery: again }])).toEqual(['done'])
    }
  })

  test('names with dots and wildcards of patterns get their own messages only', async () => {
    const names = [`${queue}.a`, `${queue}.*`, `${queue}.#`, '#'.repeat(3) + queue]
    await transport.publish(names.map((name) => ({ queue: name, body: bytes(name), delayMs: 100 })))
    for (const name of names) expect(text(await takeOne({ queues: [name] }))).toBe(name)
    expect(await transport.reserve({ queues: names, limit: 9, visibilityMs: 1_000 })).toEqual([])
  })

  test('a delay beyond the broker’s range is refused', async () => {
    const late = { queue, body: bytes('x'), delayMs: 100 * 86_400_000 }
    await expect(transport.publish([late])).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await transport.publish([{ ...late, delayMs: 77 * 86_400_000 }])
  })
})

test('an ack of some ends none of the others that are still held, whatever came first', async () => {
  const sent = Array.from({ length: 9 }, (_, index) => `m${index}`)
  await transport.publish(sent.map((body) => ({ queue, body: bytes(body) })))
  const [first, second, third] = [await take(3), await take(3), await take(3)]
  // Later ones before earlier ones, then some around one that is given back, then nothing of the rest.
  expect(await transport.ack([...second].reverse())).toEqual(['done', 'done', 'done'])
  expect(await transport.release([{ delivery: first[1] as Delivery }])).toEqual(['done'])
  expect(await transport.ack([first[0], third[2]] as Delivery[])).toEqual(['done', 'done'])
  await transport.close()
  const left = await take(4, {}, open())
  expect(left.map((each) => [text(each), each.deliveries]).sort()).toEqual([
    ['m1', 0],
    ['m2', 1],
    ['m6', 1],
    ['m7', 1],
  ])
})

test('reserves side by side get no more than each has asked for, and acks bring nothing unasked', async () => {
  const sent = Array.from({ length: 40 }, (_, index) => `m${index}`)
  await transport.publish(sent.map((body) => ({ queue, body: bytes(body) })))
  const limits = [1, 7, 3, 5, 2]
  const found = await Promise.all(
    limits.map((limit) => transport.reserve({ queues: [queue], limit, visibilityMs: 60_000 })),
  )
  for (const [index, limit] of limits.entries())
    expect((found[index] as Delivery[]).length).toBeLessThanOrEqual(limit)
  const taken = found.flat()
  expect(taken.length).toBeGreaterThan(0)
  await transport.ack(taken)
  // Whatever had come here unasked would be missing there, or counted.
  const others = await take(40 - taken.length, {}, open())
  expect(others.every(({ deliveries }) => deliveries === 0)).toBe(true)
  expect([...taken, ...others].map(text).sort()).toEqual([...sent].sort())
})

test('a look leaves everything in its place, though it counts', async () => {
  await transport.publish(['a', 'b', 'c'].map((body) => ({ queue, body: bytes(body) })))
  expect((await transport.peek(queue, 2)).map(text)).toEqual(['a', 'b'])
  await eventually('all are back', async () => (await transport.depth([queue]))[0]?.ready === 3)
  expect((await transport.peek(queue, 10)).map(text)).toEqual(['a', 'b', 'c'])
  await eventually('all are back', async () => (await transport.depth([queue]))[0]?.ready === 3)
  const taken = await take(3)
  expect(taken.map(text)).toEqual(['a', 'b', 'c'])
  expect(taken.map(({ deliveries }) => deliveries)).toEqual([2, 2, 1])
})

test('a consumer that is killed between reserve and ack: handed out again, and counted', async () => {
  await transport.publish([{ queue, body: bytes('killer') }])
  const program = new URL('./rabbitmq.fixture.ts', import.meta.url)
  const consumer = fork(program, [url, queue], { execArgv: ['--import', 'tsx'] })
  expect((await once(consumer, 'message'))[0]).toBe('killer')
  expect(await transport.reserve({ queues: [queue], limit: 1, visibilityMs: 1_000 })).toEqual([])
  consumer.kill('SIGKILL')
  const again = await takeOne()
  expect([text(again), again.deliveries]).toEqual(['killer', 1])
})

describe('refusals', () => {
  test.each([
    ['a wrong password', (good: string) => good.replace(/\/\/.*@/, '//guest:sesame@'), /refuses the login/],
    ['a virtual host that is not there', (good: string) => `${good}/nowhere`, /no such virtual host/],
  ])('%s is told at once, without the password', async (_, change, message) => {
    const refused = open({ url: change(url) })
    const began = performance.now()
    const error = await refused.publish([{ queue, body: bytes('x') }]).catch((thrown: Error) => thrown)
    expect(performance.now() - began).toBeLessThan(4_000)
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringMatching(message) })
    expect((error as Error).message).not.toMatch(/sesame|guest:guest/)
    await expect(takeOne({}, refused)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  })

  test('nobody who listens: refused within the bound', async () => {
    const absent = new RabbitmqTransport({ url: 'amqp://127.0.0.1:9', timeoutMs: 300 })
    ends.push(() => absent.close())
    const began = performance.now()
    const refused = { code: 'STORE_UNAVAILABLE', message: expect.stringContaining('ECONNREFUSED') }
    await expect(absent.open()).rejects.toMatchObject(refused)
    await expect(absent.publish([{ queue, body: bytes('x') }])).rejects.toMatchObject(refused)
    await expect(takeOne({}, absent)).rejects.toMatchObject(refused)
    expect(performance.now() - began).toBeLessThan(2_000)
  })

  test('what the broker took back after its consumer_timeout is told as that', () => {
    const text =
      'Channel closed by server: 406 (PRECONDITION-FAILED) with message "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms."'
    expect(judge(Object.assign(new Error(text), { code: 406 }), 'here')).toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringContaining('consumer_timeout'),
    })
  })

  test('URLs', () => {
    expect(readUrl('amqp://localhost')).toMatchObject({ vhost: '/', username: 'guest', password: 'guest' })
    expect(readUrl('amqps://u%40x:p%2F1@a,[::1]:99/my%2Fhost')).toMatchObject({
      tls: true,
      hosts: [
        { host: 'a', port: 5_671 },
        { host: '::1', port: 99 },
      ],
      username: 'u@x',
      password: 'p/1',
      vhost: 'my/host',
      masked: 'amqps://u%40x:***@a,[::1]:99/my%2Fhost',
    })
    for (const wrong of ['http://a', 'amqp://a:0', 'amqp://a b', 'amqp://%zz@a', 'amqp://a/b/c']) {
      expect(() => readUrl(wrong)).toThrow(expect.objectContaining({ code: 'INVALID_URL' }))
    }
  })
})
