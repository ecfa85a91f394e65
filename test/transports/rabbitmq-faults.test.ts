// A RabbitMQ node that freezes, runs out of memory or crashes: calls stay bounded, and nothing confirmed is lost.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { eventually } from '../../src/conformance/scene.ts'
import type { Delivery } from '../../src/contract/transport.ts'
import { RabbitmqTransport } from '../../src/transports/rabbitmq/index.ts'
import type { RabbitmqServer } from '../servers/rabbitmq.ts'
import { startRabbitmq } from '../servers/rabbitmq.ts'

let server: RabbitmqServer
let queue: string
const opened: RabbitmqTransport[] = []
const ends: (() => Promise<void>)[] = []
// RabbitMQ 3.10 forgets a queue that was made within the second before it is killed, so these are made long before.
const CRASHED = 'faults-crashed'
const DELAYED = 'faults-delayed'
const DELAY_MS = 1_500

beforeAll(async () => {
  server = await startRabbitmq()
  const transport = open(30_000)
  const body = new Uint8Array()
  await transport.publish([
    { queue: CRASHED, body },
    { queue: DELAYED, body, delayMs: DELAY_MS },
  ])
  for (const each of [CRASHED, DELAYED]) await transport.ack([await takeOne(transport, each)])
})
afterAll(() => server?.stop())
beforeEach(() => {
  queue = `faults-${Math.random().toString(36).slice(2)}`
})
afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()))
  await Promise.all(opened.splice(0).map((transport) => transport.close()))
})

function open(timeoutMs = 2_000): RabbitmqTransport {
  const transport = new RabbitmqTransport({ url: server.url, timeoutMs })
  opened.push(transport)
  return transport
}

const message = (body: string) => ({ queue, body: new TextEncoder().encode(body) })
const text = ({ body }: Delivery): string => new TextDecoder().decode(body)

async function takeOne(transport: RabbitmqTransport, from = queue): Promise<Delivery> {
  let taken: Delivery[] = []
  await eventually(
    'a message comes',
    async () => {
      // Refused while there is no broker, which is what these tests are about.
      taken = await transport
        .reserve({ queues: [from], limit: 1, visibilityMs: 60_000, waitMs: 500 })
        .catch((error: { code?: string }) => {
          if (error.code !== 'STORE_UNAVAILABLE') throw error
          return []
        })
      return taken.length === 1
    },
    20_000,
  )
  return taken[0] as Delivery
}

test('a frozen broker: every call ends within its bound, what was held is lost, and all goes on afterwards', async () => {
  const transport = open()
  await transport.publish([message('a'), message('b'), message('c')])
  const [a, b, c] = [await takeOne(transport), await takeOne(transport), await takeOne(transport)]
  await server.pause()
  try {
    const began = performance.now()
    const unavailable = { code: 'STORE_UNAVAILABLE' }
    const [published, acked, released, extended, reserved] = await Promise.allSettled([
      transport.publish([message('unknown')]),
      transport.ack([a]),
      transport.release([{ delivery: b }]),
      transport.extend([c], 60_000),
      transport.reserve({ queues: [queue], limit: 1, visibilityMs: 1_000, waitMs: 100 }),
    ])
    expect(performance.now() - began).toBeLessThan(8_000)
    expect(published).toMatchObject({ reason: unavailable })
    expect(acked).toMatchObject({ value: ['lost'] })
    expect(released).toMatchObject({ reason: unavailable })
    expect(extended).toMatchObject({ value: ['lost'] })
    expect(
      reserved.status === 'rejected' ? reserved.reason : { ...unavailable, value: reserved.value },
    ).toMatchObject(unavailable)
    // Closing a transport does not wait for it either.
    const closing = performance.now()
    await open().close()
    await transport.close()
    expect(performance.now() - closing).toBeLessThan(5_000)
  } finally {
    server.continue()
  }
  const next = open()
  const left = new Set<string>()
  await eventually('what was not acked is there again', async () => {
    const delivery = await takeOne(next)
    left.add(text(delivery))
    await next.ack([delivery])
    return left.has('b') && left.has('c')
  })
})

test('a broker with an alarm: STORE_FULL within the bound, acks go on, and publishing once it is lifted', async () => {
  const transport = open()
  await transport.publish([message('held'), message('other')])
  const held = await takeOne(transport)
  const other = await takeOne(transport)
  const troubled = { code: 'STORE_FULL', message: expect.stringContaining('memory') }
  await server.alarm(true)
  try {
    for (const _ of [1, 2]) {
      const began = performance.now()
      await expect(transport.publish([message('refused')])).rejects.toMatchObject(troubled)
      expect(performance.now() - began).toBeLessThan(4_000)
    }
    expect(await transport.ack([held])).toEqual(['done'])
    await expect(transport.release([{ delivery: other }])).rejects.toMatchObject(troubled)
    expect(await transport.extend([other], 60_000), 'still held').toEqual(['done'])
  } finally {
    await server.alarm(false)
  }
  await eventually('it takes messages again', () =>
    transport.publish([message('taken')]).then(
      () => true,
      (error: { code?: string }) => {
        if (error.code !== 'STORE_FULL') throw error
        return false
      },
    ),
  )
  expect(await transport.release([{ delivery: other }])).toEqual(['done'])
})

test('a crash under load: nothing confirmed is lost, and everybody goes on without being told', async () => {
  queue = CRASHED
  const producer = open(30_000)
  const hasty = open(300)
  const consumers = [open(), open()]
  const confirmed = new Set<string>()
  const seen = new Set<string>()
  let producing = true
  let hastyRefused = 0
  const producers = [
    (async () => {
      for (let n = 0; producing; n++) {
        const names = Array.from({ length: 20 }, (_, i) => `patient-${n}-${i}`)
        await producer.publish(names.map(message))
        for (const name of names) confirmed.add(name)
      }
    })(),
    (async () => {
      for (let n = 0; producing; n++) {
        const done = await hasty.publish([message(`hasty-${n}`)]).then(
          () => true,
          (error: { code?: string }) => {
            if (error.code !== 'STORE_UNAVAILABLE') throw error
            hastyRefused++
            return false
          },
        )
        if (done) confirmed.add(`hasty-${n}`)
      }
    })(),
  ]
  let consuming = true
  const reading = consumers.map(async (consumer) => {
    while (consuming) {
      const found = await consumer
        .reserve({ queues: [queue], limit: 10, visibilityMs: 60_000, waitMs: 300 })
        .catch((error: { code?: string }) => {
          if (error.code !== 'STORE_UNAVAILABLE') throw error
          return []
        })
      for (const delivery of found) seen.add(text(delivery))
      await consumer.ack(found)
    }
  })
  const stop = async (): Promise<void> => {
    producing = false
    consuming = false
    await Promise.allSettled([...producers, ...reading])
  }
  ends.push(stop)
  await eventually('work is under way', () => confirmed.size > 200 && seen.size > 50)
  await producer.publish([{ ...message('later'), queue: DELAYED, delayMs: DELAY_MS }])
  await server.kill9()
  const before = confirmed.size
  await server.restart()
  await eventually('the producers go on', () => confirmed.size > before + 200, 20_000)
  producing = false
  await Promise.all(producers)
  await eventually(
    'all that was confirmed has come',
    () => [...confirmed].every((name) => seen.has(name)),
    20_000,
  )
  consuming = false
  await Promise.all(reading)
  expect(hastyRefused).toBeGreaterThan(0)
  expect(text(await takeOne(producer, DELAYED)), 'delayed when the broker crashed').toBe('later')
}, 60_000)
