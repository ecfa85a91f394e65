// The lists of the Redis transport as consumers and producers in other languages use them, by a bare client.
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { RedisTransport } from '../../src/transports/redis/index.ts'
import { eventually } from '../facade/places.ts'
import { sharedUrl } from '../servers/shared.ts'
import { bytes, newQueue, opened, take, texts } from './places.ts'

function bare(): Redis {
  const redis = new Redis(sharedUrl('redis'))
  onTestFinished(() => redis.disconnect())
  return redis
}

const ours = (): Promise<RedisTransport> => opened(new RedisTransport({ url: sharedUrl('redis') }))
const RAW = Buffer.from([0x7b, 0xff, 0x00, 0xfe, 0x0a, 0x7d])

test('bytes that another producer pushed are handed out as they are', async () => {
  const [redis, transport, queue] = [bare(), await ours(), newQueue()]
  await redis.rpush(queue, RAW, '{"job":"urn:x"}', '')
  const taken = await take(transport, queue)
  expect(taken.map(({ body }) => Buffer.from(body))).toEqual([
    RAW,
    Buffer.from('{"job":"urn:x"}'),
    Buffer.from(''),
  ])
  expect(await transport.ack(taken)).toEqual(['done', 'done', 'done'])
  expect(await redis.exists(queue, `${queue}:processing`)).toBe(0)
})

test('a push by another producer ends a wait', async () => {
  const [redis, transport, queue] = [bare(), await ours(), newQueue()]
  await redis.ping()
  const began = performance.now()
  const waiting = transport.reserve({
    queues: [newQueue(), queue],
    limit: 1,
    visibilityMs: 60_000,
    waitMs: 8_000,
  })
  await sleep(150)
  await redis.rpush(queue, 'theirs')
  expect(texts(await waiting)).toEqual(['theirs'])
  // Less than the second after which a wait looks by itself.
  expect(performance.now() - began).toBeLessThan(900)
})

test('what is published lies in the list, and when delayed in the sorted set, byte for byte', async () => {
  const [redis, transport, queue] = [bare(), await ours(), newQueue()]
  const before = Date.now()
  await transport.publish([
    { queue, body: RAW },
    { queue, body: bytes('second') },
    { queue, body: RAW, delayMs: 60_000 },
  ])
  expect(await redis.lrangeBuffer(queue, 0, -1)).toEqual([RAW, Buffer.from('second')])
  const [member, score = ''] = await redis.zrangeBuffer(`${queue}:delayed`, '0', '-1', 'WITHSCORES')
  expect(member).toEqual(RAW)
  expect(Number(String(score))).toBeGreaterThanOrEqual(before + 59_900)
  expect(Number(String(score))).toBeLessThan(Date.now() + 60_100)
  const [first] = await take(transport, queue, { limit: 1 })
  expect(await redis.lrangeBuffer(`${queue}:processing`, 0, -1)).toEqual([RAW])
  expect(first?.body).toEqual(new Uint8Array(RAW))
})

test('a delayed message of another producer is handed out when it is due', async () => {
  const [redis, transport, queue] = [bare(), await ours(), newQueue()]
  await redis.zadd(`${queue}:delayed`, `${Date.now() + 300}`, 'theirs', `${Date.now() - 1}`, 'due')
  expect(texts(await take(transport, queue))).toEqual(['due'])
  expect(texts(await take(transport, queue, { waitMs: 5_000 }))).toEqual(['theirs'])
})

test('another consumer takes and acks what we published, beside ours', async () => {
  const [redis, transport, queue] = [bare(), await ours(), newQueue()]
  await transport.publish(['a', 'b', 'c'].map((text) => ({ queue, body: bytes(text) })))
  const ownA = await take(transport, queue, { limit: 1 })
  const theirs = await redis.lmove(queue, `${queue}:processing`, 'LEFT', 'RIGHT')
  const ownC = await take(transport, queue, { limit: 1 })
  expect([texts(ownA), theirs, texts(ownC)]).toEqual([['a'], 'b', ['c']])
  expect(await transport.depth([queue])).toEqual([{ queue, ready: 0, delayed: 0, reserved: 3 }])
  expect(await redis.lrem(`${queue}:processing`, 1, 'b')).toBe(1)
  expect(await transport.ack([...ownA, ...ownC])).toEqual(['done', 'done'])
  expect(await take(transport, queue)).toEqual([])
  expect(await redis.keys(`${queue}*`)).toSatisfy((keys: string[]) =>
    keys.every((key) => /:(sent:.*|looked)$/.test(key)),
  )
})

test('what another consumer took and never acked is reclaimed, once its visibility from when it was first seen is over', async () => {
  const [redis, transport, queue] = [bare(), await ours(), newQueue()]
  await redis.rpush(queue, 'stuck', 'stuck', 'other')
  for (let count = 0; count < 3; count++) await redis.lmove(queue, `${queue}:processing`, 'LEFT', 'RIGHT')
  // A look sees them; only from then on does their time run.
  expect(await take(transport, queue, { visibilityMs: 600 })).toEqual([])
  const seen = performance.now()
  await redis.lrem(`${queue}:processing`, 1, 'other')
  const taken: { text: string; deliveries: number }[] = []
  await eventually('both are reclaimed', async () => {
    for (const delivery of await take(transport, queue, { visibilityMs: 600 })) {
      expect(performance.now() - seen).toBeGreaterThanOrEqual(590)
      taken.push({ text: texts([delivery])[0] as string, deliveries: delivery.deliveries })
      expect(await transport.ack([delivery])).toEqual(['done'])
    }
    return taken.length >= 2
  })
  expect(taken).toEqual([
    { text: 'stuck', deliveries: 1 },
    { text: 'stuck', deliveries: 1 },
  ])
  await sleep(700)
  expect(await take(transport, queue, { visibilityMs: 600 })).toEqual([])
  expect(
    await redis.exists(`${queue}:processing`, `${queue}:strangers`, `${queue}:held`, `${queue}:leases`),
  ).toBe(0)
})

test('a stranger that is acked in time is forgotten', async () => {
  const [redis, transport, queue] = [bare(), await ours(), newQueue()]
  await redis.rpush(`${queue}:processing`, 'theirs')
  expect(await take(transport, queue, { visibilityMs: 400 })).toEqual([])
  await redis.lrem(`${queue}:processing`, 1, 'theirs')
  await sleep(500)
  expect(await take(transport, queue, { visibilityMs: 400 })).toEqual([])
  // The same bytes, taken anew, have all their time again.
  await redis.rpush(`${queue}:processing`, 'theirs')
  const seen = performance.now()
  await eventually(
    'it is reclaimed',
    async () => (await take(transport, queue, { visibilityMs: 400 })).length > 0,
  )
  expect(performance.now() - seen).toBeGreaterThanOrEqual(390)
})

test('another consumer’s ack of what we hold is harmless', async () => {
  const [redis, transport, queue] = [bare(), await ours(), newQueue()]
  await transport.publish(['a', 'b', 'c'].map((text) => ({ queue, body: bytes(text) })))
  const taken = await take(transport, queue, { limit: 3, visibilityMs: 500 })
  for (const text of ['a', 'b', 'c']) await redis.lrem(`${queue}:processing`, 1, text)
  const [a, b] = taken
  expect(a && (await transport.ack([a]))).toEqual(['done'])
  expect(b && (await transport.release([{ delivery: b }]))).toEqual(['done'])
  await sleep(550)
  // c was acked, though not by us: it does not come back.
  expect(texts(await take(transport, queue))).toEqual(['b'])
})

test('two delayed messages with the same bytes lie in the sorted set once, and beside it', async () => {
  const [redis, transport, queue] = [bare(), await ours(), newQueue()]
  await transport.publish(Array.from({ length: 3 }, () => ({ queue, body: RAW, delayMs: 200 })))
  expect(await redis.zrangeBuffer(`${queue}:delayed`, '0', '-1')).toEqual([RAW])
  expect((await transport.depth([queue]))[0]).toMatchObject({ ready: 0, delayed: 3 })
  await sleep(250)
  expect((await take(transport, queue)).map(({ body }) => Buffer.from(body))).toEqual([RAW, RAW, RAW])
})

test('a prefix stands before each key', async () => {
  const [redis, queue] = [bare(), newQueue()]
  const transport = await opened(new RedisTransport({ url: `${sharedUrl('redis')}?prefix=app` }))
  await transport.publish([{ queue, body: RAW }])
  expect(await redis.lrangeBuffer(`app:${queue}`, 0, -1)).toEqual([RAW])
  expect(() => new RedisTransport({ url: `${sharedUrl('redis')}?shards=3` })).toThrow(/shards/)
})
