// The Redis transport when answers are lost, servers go away, and consumers are killed.
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { RedisTransport } from '../../src/transports/redis/index.ts'
import { eventually } from '../facade/places.ts'
import type { RedisServer } from '../servers/redis.ts'
import { startRedis } from '../servers/redis.ts'
import { bytes, newQueue, opened, take, texts } from './places.ts'
import { proxyTo } from './proxy.ts'

async function server(...args: string[]): Promise<RedisServer> {
  const redis = await startRedis({ args })
  onTestFinished(() => redis.stop())
  return redis
}

function bare(url: string): Redis {
  const redis = new Redis(url)
  redis.on('error', () => undefined)
  onTestFinished(() => redis.disconnect())
  return redis
}

test('an answer that is lost is asked for again, and nothing is done twice', async () => {
  const own = await server()
  const proxy = await proxyTo(own.port)
  const queue = newQueue()
  const redis = bare(own.url)
  const transport = await opened(new RedisTransport({ url: `redis://127.0.0.1:${proxy.port}` }))
  // The scripts are there, so that the answer that is lost is that of the call itself.
  await transport.publish([{ queue, body: bytes('warm') }])
  const warm = await take(transport, queue)
  await transport.release(warm.map((delivery) => ({ delivery })))
  await transport.ack(await take(transport, queue))

  proxy.loseNextAnswer()
  await transport.publish(['a', 'b', 'c'].map((text) => ({ queue, body: bytes(text) })))
  expect(await redis.lrange(queue, 0, -1)).toEqual(['a', 'b', 'c'])

  await redis.rpush(queue, 'd')
  proxy.loseNextAnswer()
  const taken = await take(transport, queue, { limit: 3 })
  expect(texts(taken)).toEqual(['a', 'b', 'c'])
  expect(taken.map(({ deliveries }) => deliveries)).toEqual([0, 0, 0])
  expect(await redis.lrange(`${queue}:processing`, 0, -1)).toEqual(['a', 'b', 'c'])
  expect(await redis.hlen(`${queue}:held`)).toBe(3)
  expect(await redis.lpop(queue)).toBe('d')

  const [a, b, c] = taken
  expect(a && b && c).toBeDefined()
  if (!a || !b || !c) return
  proxy.loseNextAnswer()
  expect(await transport.release([{ delivery: a }])).toEqual(['done'])
  expect(await redis.lrange(queue, 0, -1)).toEqual(['a'])
  proxy.loseNextAnswer()
  expect(await transport.deadLetter([{ delivery: b }])).toEqual(['done'])
  expect(await redis.lrange(`${queue}.dlq`, 0, -1)).toEqual(['b'])
  proxy.loseNextAnswer()
  expect(await transport.ack([c])).toEqual(['done'])
  expect(proxy.lost()).toBe(5)
  expect(await transport.depth([queue])).toEqual([{ queue, ready: 1, delayed: 0, reserved: 0 }])
  // The memory of what was answered goes by itself.
  const sent = await redis.keys(`*:sent:*`)
  expect(sent.length).toBeGreaterThan(0)
  for (const key of sent) expect(await redis.pttl(key)).toBeGreaterThan(0)
})

test('a server that hung does what was sent before and after its connections went, and does it once', async () => {
  const own = await server()
  const queue = newQueue()
  const redis = bare(own.url)
  const proxy = await proxyTo(own.port)
  const url = `redis://127.0.0.1:${proxy.port}`
  const transport = await opened(new RedisTransport({ url, timeoutMs: 3_000 }))
  await transport.publish(['a', 'b', 'c', 'd'].map((text) => ({ queue, body: bytes(text) })))
  await transport.release((await take(transport, queue, { limit: 1 })).map((delivery) => ({ delivery })))
  await redis.ping()

  // Both sendings lie in the server's sockets, of two connections, when it goes on.
  await own.pause()
  const publishing = transport.publish([{ queue, body: bytes('e') }])
  const reserving = take(transport, queue, { limit: 2 })
  await sleep(100)
  proxy.hangUp()
  await sleep(400)
  own.continue()
  await publishing
  const taken = await reserving
  expect(await redis.lrange(queue, 0, -1)).toSatisfy(
    (left: string[]) => left.filter((text) => text === 'e').length === 1,
  )
  // Whichever came first: what was handed out is what its tokens stand for.
  for (const delivery of taken) {
    const record = await redis.hget(`${queue}:held`, delivery.token)
    expect(record).toBe(`0:${texts([delivery])[0]}`)
  }
  expect(await transport.ack(taken)).toEqual(taken.map(() => 'done'))
})

test('a server that forgot the scripts is told them again', async () => {
  const own = await server()
  const queue = newQueue()
  const transport = await opened(new RedisTransport({ url: own.url }))
  await transport.publish([{ queue, body: bytes('a') }])
  await bare(own.url).script('FLUSH')
  await transport.publish([{ queue, body: bytes('b') }])
  expect(texts(await take(transport, queue))).toEqual(['a', 'b'])
})

test('a server that is killed and started again while a reservation waits', async () => {
  const own = await server('--appendonly', 'yes', '--appendfsync', 'always')
  const queue = newQueue()
  const [consumer, producer] = [
    await opened(new RedisTransport({ url: own.url })),
    await opened(new RedisTransport({ url: own.url })),
  ]
  await producer.publish([{ queue, body: bytes('held') }])
  const held = await take(consumer, queue)
  const waiting = take(consumer, queue, { waitMs: 15_000 })
  await own.kill9()
  await own.restart()
  await producer.publish([{ queue, body: bytes('after') }])
  expect(texts(await waiting)).toEqual(['after'])
  expect(await consumer.ack(held)).toEqual(['done'])
})

test('while the server is away, calls fail in bounded time; then they work', async () => {
  const own = await server()
  const queue = newQueue()
  const transport = await opened(new RedisTransport({ url: own.url, timeoutMs: 600 }))
  const troubles: string[] = []
  transport.onTrouble(({ code }) => troubles.push(code))
  await own.kill9()
  const began = performance.now()
  await expect(transport.publish([{ queue, body: bytes('x') }])).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
  })
  await expect(take(transport, queue)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  await expect(take(transport, queue, { waitMs: 300 })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  expect(performance.now() - began).toBeLessThan(4_000)
  expect(troubles).toContain('STORE_UNAVAILABLE')
  await own.restart()
  await eventually('it answers again', () =>
    transport.publish([{ queue, body: bytes('x') }]).then(
      () => true,
      () => false,
    ),
  )
  expect(texts(await take(transport, queue, { limit: 1 }))).toEqual(['x'])
})

test('a server that takes no writes for now is asked again', async () => {
  const own = await server()
  const queue = newQueue()
  const redis = bare(own.url)
  const transport = await opened(new RedisTransport({ url: own.url, timeoutMs: 2_000 }))
  await transport.publish([{ queue, body: bytes('warm') }])
  await redis.config('SET', 'min-replicas-to-write', '1')
  const publishing = transport.publish([{ queue, body: bytes('x') }])
  setTimeout(() => void redis.config('SET', 'min-replicas-to-write', '0'), 200)
  await publishing
  expect(texts(await take(transport, queue))).toEqual(['warm', 'x'])
})

test('waiting leaves no connection behind once it is closed', async () => {
  const own = await server()
  const redis = bare(own.url)
  const transport = new RedisTransport({ url: own.url })
  await transport.open()
  const waiting = transport.reserve({ queues: ['a', 'b'], limit: 1, visibilityMs: 1_000, waitMs: 10_000 })
  const clients = async (): Promise<number> =>
    String(await redis.client('LIST'))
      .trim()
      .split('\n').length
  await eventually('it waits for both queues', async () => (await clients()) === 4)
  await transport.close()
  expect(await waiting).toEqual([])
  await eventually('only this one is left', async () => (await clients()) === 1)
})
