// The bridge and the producer at a real RabbitMQ, beside a client that publishes and reads as other languages do.
import { randomUUID } from 'node:crypto'
import type { Channel, ConsumeMessage } from 'amqplib'
import { connect } from 'amqplib'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { Producer } from '../../src/bridge/index.ts'
import { redrive } from '../../src/bridge/redrive.ts'
import { NoRetryError, task } from '../../src/index.ts'
import { openTransport } from '../../src/transports/open.ts'
import { eventually, memory, working } from '../facade/places.ts'
import { sharedUrlOnDemand } from '../servers/shared.ts'
import { bridging, letter } from './scene.ts'

const URN = 'urn:babel:orders:created'
let url: string

beforeAll(async () => {
  url = await sharedUrlOnDemand('rabbitmq')
}, 120_000)

async function bare(): Promise<{ channel: Channel; get(queue: string): Promise<ConsumeMessage> }> {
  const client = await connect(url)
  onTestFinished(() => client.close())
  const channel = await client.createConfirmChannel()
  return {
    channel,
    async get(queue) {
      let found: ConsumeMessage | false = false
      await eventually(`a message lies in ${queue}`, async () => {
        found = (await channel.get(queue, { noAck: true })) as ConsumeMessage | false
        return found !== false
      })
      return found as unknown as ConsumeMessage
    },
  }
}

test('messages of others are handled; ours lie there with exactly these bytes, properties and headers', async () => {
  const queue = `orders-${randomUUID()}`
  const ran: unknown[] = []
  let broken = true
  await using producer = new Producer({ url, queue: `${queue}-out` })
  const deferq = memory().deferq({
    tasks: [
      task(URN, {
        run: async (params, { traceId }) => {
          if ((params as { fails?: boolean }).fails && broken) throw new NoRetryError('out of stock')
          await producer.send('urn:babel:orders:imported', { url: 'https://x/ü' })
          ran.push([params, traceId])
        },
      }),
    ],
  })
  const { channel, get } = await bare()
  const setup = await openTransport(url)()
  onTestFinished(() => setup.close())
  await setup.open()
  // The queues are made as the transport makes them; then everything goes past it.
  await setup.publish([{ queue, body: Buffer.from(letter(URN, { n: 0 }, { trace: 'zero' })) }])
  const others = {
    type: URN,
    correlationId: 'php-trace',
    appId: 'babelqueue',
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    deliveryMode: 2,
  }
  const headers = { 'x-schema-version': 1, 'x-source-lang': 'php', 'x-attempts': 0, tenant: 'a' }
  const good = letter(URN, { text: '日本/"ü"' }, { trace: 'php-trace' })
  const failing = letter(URN, { fails: true }, { trace: 'php-trace' })
  const garbage = Buffer.from([0xff, 0x00, 0x7b])
  for (const body of [Buffer.from(good), Buffer.from(failing), garbage])
    channel.sendToQueue(queue, body, { ...others, headers })

  const bridge = bridging(deferq, { url, queues: [queue] })
  working(deferq)
  await eventually('both have run', () => ran.length === 2)
  expect(ran).toEqual([
    [{ n: 0 }, 'zero'],
    [{ text: '日本/"ü"' }, 'php-trace'],
  ])
  await get(`${queue}-out`)
  const sent = await get(`${queue}-out`)
  const text = sent.content.toString()
  const { meta } = JSON.parse(text)
  expect(text).toBe(
    `{"job":"urn:babel:orders:imported","trace_id":"php-trace","data":{"url":"https://x/ü"},"meta":{"id":"${meta.id}","queue":"${queue}-out","lang":"node","schema_version":1,"created_at":${meta.created_at}},"attempts":0}`,
  )
  expect(sent.properties).toMatchObject({
    type: 'urn:babel:orders:imported',
    correlationId: 'php-trace',
    messageId: meta.id,
    appId: 'babelqueue',
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    deliveryMode: 2,
  })
  expect(sent.properties.headers).toMatchObject({
    'x-schema-version': 1,
    'x-source-lang': 'node',
    'x-attempts': 0,
  })

  // Set aside: bytes that nobody can read with a reason beside them, the failed one with its annotation.
  await eventually('both are set aside', async () => (await setup.depth([`${queue}.dlq`]))[0]?.ready === 2)
  const raw = await get(`${queue}.dlq`)
  expect(raw.content).toEqual(garbage)
  expect(raw.properties.headers).toMatchObject({
    'x-dead-letter-reason': 'poison',
    'x-dead-letter-queue': queue,
    'x-dead-letter-error': expect.stringMatching(/^undecodable/),
    tenant: 'a',
  })
  const [aside] = await setup.peek(`${queue}.dlq`, 1)
  expect(JSON.parse(Buffer.from(aside?.body ?? []).toString()).dead_letter).toMatchObject({
    reason: 'failed',
    error: 'out of stock',
    original_queue: queue,
    attempts: 1,
  })
  expect(aside?.properties).toMatchObject({
    type: URN,
    headers: { 'x-dead-letter-reason': 'failed', tenant: 'a' },
  })

  // Back as it was, and run again although it failed before.
  broken = false
  await eventually(
    'the look has put it back',
    async () => (await setup.depth([`${queue}.dlq`]))[0]?.ready === 1,
  )
  expect(await redrive(setup, queue)).toMatchObject({ count: 1, sent: { [queue]: 1 } })
  await eventually('it has run', () => ran.length === 3)
  expect(ran[2]).toEqual([{ fails: true }, 'php-trace'])
  expect(await bridge.stop()).toMatchObject({ acked: 4, lost: 0 })
  await bridge.close()
  expect(await setup.depth([queue, `${queue}.dlq`])).toMatchObject([{ ready: 0 }, { ready: 0 }])
})
