// The producer: what arrives is exactly what consumers in other languages expect, in the order in which it was sent.
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { withTraceId } from '../../src/base/trace.ts'
import { Producer } from '../../src/bridge/index.ts'
import { DeferqError, task } from '../../src/index.ts'
import { AWAY, eventually, failing, memory, working } from '../facade/places.ts'
import { sharedUrl } from '../servers/shared.ts'
import { met } from './met.ts'
import { bridging, letter, post } from './scene.ts'

test('a message has exactly these bytes, properties and headers', async () => {
  const { transport, messages } = post()
  const producer = new Producer({ transport: transport() })
  const id = randomUUID()
  const sent = await producer.send(
    'urn:babel:a:b',
    { url: 'https://x/ü' },
    { queue: 'out', traceId: 'trace', id },
  )
  expect(sent).toEqual({ id, traceId: 'trace', queue: 'out' })
  const [message] = await messages('out')
  const text = Buffer.from(message?.body ?? []).toString()
  const created = JSON.parse(text).meta.created_at
  expect(Math.abs(Date.now() - created)).toBeLessThan(10_000)
  expect(text).toBe(
    `{"job":"urn:babel:a:b","trace_id":"trace","data":{"url":"https://x/ü"},"meta":{"id":"${id}","queue":"out","lang":"node","schema_version":1,"created_at":${created}},"attempts":0}`,
  )
  expect(message?.properties).toEqual({
    type: 'urn:babel:a:b',
    correlationId: 'trace',
    messageId: id,
    appId: 'babelqueue',
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers: { 'x-schema-version': 1, 'x-source-lang': 'node', 'x-attempts': 0 },
  })
})

test('the trace id is the given one, the one of the handler around it, or a new UUID', async () => {
  const producer = new Producer({ url: 'memory:' })
  onTestFinished(() => producer.close())
  expect((await producer.send('u', {}, { traceId: ' ' })).traceId).toMatch(/^[0-9a-f-]{36}$/)
  await withTraceId('around', async () => {
    expect((await producer.send('u')).traceId).toBe('around')
    expect((await producer.send('u', {}, { traceId: '' })).traceId).toBe('around')
    expect((await producer.send('u', {}, { traceId: 'own' })).traceId).toBe('own')
  })
})

test('messages arrive in the order in which they were sent, in few publishes', async () => {
  const { transport, texts } = post()
  let publishes = 0
  const counted = met(transport(), (verb) => {
    if (verb === 'publish') publishes++
  })
  const producer = new Producer({ transport: counted, queue: 'out' })
  const all = Array.from({ length: 500 }, (_, n) => ({ urn: 'u', data: { n } }))
  await Promise.all([
    ...all.slice(0, 250).map(({ urn, data }) => producer.send(urn, data)),
    producer.sendMany(all.slice(250)),
  ])
  expect((await texts('out')).map((text) => JSON.parse(text).data.n)).toEqual(all.map(({ data }) => data.n))
  expect(publishes).toBeLessThan(10)
})

test('a delay, and what is refused', async () => {
  const { transport, texts } = post()
  const consumer = transport()
  const producer = new Producer({ transport: consumer })
  await producer.send('u', {}, { delay: '1h' })
  expect(await consumer.depth(['default'])).toMatchObject([{ ready: 0, delayed: 1 }])
  expect((await failing('INVALID_ENVELOPE', producer.send('', {}))).details?.violations).toEqual([
    'job: empty_string',
  ])
  expect((await failing('INVALID_ENVELOPE', producer.send('u', [] as never))).message).toMatch(
    /data: not_an_object/,
  )
  expect((await failing('INVALID_ENVELOPE', producer.send('u', {}, { id: 'x' }))).message).toMatch(
    /meta\.id: not_a_uuid/,
  )
  expect(
    (await failing('INVALID_ENVELOPE', producer.send('u', {}, { traceId: 7 as never }))).message,
  ).toMatch(/trace_id: wrong_type/)
  await failing('INVALID_OPTION', producer.send('u', {}, { que: 'x' } as never))
  await failing('INVALID_OPTION', producer.send('u', {}, { queue: '' }))
  await failing('INVALID_OPTION', producer.send('u', {}, { delay: '1 fortnight' }))
  await failing('INVALID_OPTION', () => new Producer({} as never))
  const many = producer.sendMany([{ urn: 'a' }, { urn: '' }])
  expect((await failing('INVALID_ENVELOPE', many)).message).toMatch(/^sendMany\(\)\[1\]/)
  expect(await texts('default')).toEqual([])
  await producer.close()
  await failing('CLOSED', producer.send('u'))
})

test('a broker that is away is told at once, with the id under which to send again', async () => {
  const { transport } = post()
  const away = met(transport(), (verb) => {
    if (verb === 'publish') throw AWAY
  })
  const error = await failing('STORE_UNAVAILABLE', new Producer({ transport: away }).send('u'))
  expect(error.message).toContain(error.details?.id)
  expect(error.cause).toBe(AWAY)
  const started = performance.now()
  const absent = new Producer({ url: 'redis://127.0.0.1:1' })
  await failing('STORE_UNAVAILABLE', absent.send('u'))
  expect(performance.now() - started).toBeLessThan(15_000)
  await absent.close()
  expect(error).toBeInstanceOf(DeferqError)
})

test('bytes that another language pushed to Redis are handled, and ours are there as it expects them', async () => {
  const url = sharedUrl('redis')
  const redis = new Redis(url)
  onTestFinished(() => redis.disconnect())
  const queue = `orders-${randomUUID()}`
  const ran: unknown[] = []
  const deferq = memory().deferq({
    tasks: [
      task('urn:babel:orders:created', {
        run: (params, { traceId }) => void ran.push([params, traceId]),
      }),
    ],
  })
  await redis.rpush(
    queue,
    letter('urn:babel:orders:created', { text: '日本/"ü"' }, { trace: 'php' }),
    'garbage',
  )
  const bridge = bridging(deferq, { url, queues: [queue] })
  working(deferq)
  await eventually('it has run', () => ran.length === 1)
  expect(ran).toEqual([[{ text: '日本/"ü"' }, 'php']])
  await eventually('the garbage is set aside', async () => (await redis.llen(`${queue}.dlq`)) === 1)
  expect(await redis.lrange(`${queue}.dlq`, 0, -1)).toEqual(['garbage'])
  await bridge.close()
  expect(await redis.llen(queue)).toBe(0)
  await using producer = new Producer({ url, queue })
  const { id, traceId } = await producer.send('urn:babel:orders:paid', { total: 12.5 })
  const [text] = await redis.lrange(queue, 0, -1)
  expect(text).toMatch(
    new RegExp(
      `^\\{"job":"urn:babel:orders:paid","trace_id":"${traceId}","data":\\{"total":12\\.5\\},"meta":\\{"id":"${id}","queue":"${queue}","lang":"node","schema_version":1,"created_at":\\d{13}\\},"attempts":0\\}$`,
    ),
  )
  await redis.del(queue, `${queue}.dlq`)
})
