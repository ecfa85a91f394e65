// The composed engine over @keyv/redis, redlock and RabbitMQ, by turns with a bare loop of amqplib on the same broker.
// From a clone: npx tsx bench/composed.ts [tasks] [rounds]; it starts the servers it needs.

import KeyvRedis from '@keyv/redis'
import amqp from 'amqplib'
import { Redis } from 'ioredis'
import { Keyv } from 'keyv'
import { composed, redlockLock } from '../src/engines/composed/index.ts'
import { DeferQ, task, Worker } from '../src/index.ts'
import { RabbitmqTransport } from '../src/transports/rabbitmq/index.ts'
import { startSharedRabbitmq } from '../test/servers/rabbitmq.ts'
import { startSharedRedis } from '../test/servers/redis.ts'

const IN_FLIGHT = 100
const [count = 8_000, rounds = 5] = process.argv.slice(2).map(Number)

const [redis, broker] = await Promise.all([startSharedRedis(), startSharedRabbitmq()])
const median = (rates: number[]): number => rates.sort((a, b) => a - b)[rates.length >> 1] as number
const results = { bare: [] as number[], composed: [] as number[], ratio: [] as number[] }
for (let round = 0; round < rounds; round++) {
  const bare = await timed(playBare)
  const mine = await timed(playComposed)
  results.bare.push(bare)
  results.composed.push(mine)
  results.ratio.push(mine / bare)
  console.log(`bare ${Math.round(bare)} /s, composed ${Math.round(mine)} /s, ${(mine / bare).toFixed(2)}`)
}
console.log(
  `medians: bare ${Math.round(median(results.bare))} /s, composed ${Math.round(median(results.composed))} /s, ratio ${median(results.ratio).toFixed(2)}`,
)
await Promise.all([redis.stop(), broker.stop()])

async function timed(play: (started: () => void) => Promise<number>): Promise<number> {
  let from = 0
  const end = await play(() => {
    from = performance.now()
  })
  return (count / (end - from)) * 1_000
}

/** As many callers at once, each with its next when it has been answered. */
async function callers(call: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const caller = async (): Promise<void> => {
    while (next < count) await call(next++)
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, caller))
}

async function playBare(started: () => void): Promise<number> {
  const connections = await Promise.all([amqp.connect(broker.url), amqp.connect(broker.url)])
  const publishing = await connections[0].createConfirmChannel()
  const consuming = await connections[1].createChannel()
  const queue = `bare${Date.now()}`
  await publishing.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
  await consuming.prefetch(IN_FLIGHT)
  let done = 0
  let finish = (_at: number): void => {}
  const finished = new Promise<number>((resolve) => {
    finish = resolve
  })
  await consuming.consume(queue, (message) => {
    if (message === null) return
    consuming.ack(message)
    if (++done === count) finish(performance.now())
  })
  const body = Buffer.alloc(100, 'x')
  started()
  await callers(
    () =>
      new Promise<void>((resolve) =>
        publishing.sendToQueue(queue, body, { persistent: true }, () => resolve()),
      ),
  )
  const end = await finished
  await publishing.deleteQueue(queue)
  await Promise.all(connections.map((connection) => connection.close()))
  return end
}

async function playComposed(started: () => void): Promise<number> {
  const prefix = `bench${Date.now()}`
  const noop = task('noop', { resultTtl: 0, retention: '10s', run: async (_: { index: number }) => 1 })
  const make = () => {
    const engine = composed({
      tasks: new Keyv({ store: new KeyvRedis(redis.url) }),
      lock: redlockLock([new Redis(redis.url)]),
      queue: new RabbitmqTransport({ url: broker.url }),
      prefix,
    })
    return new DeferQ({ engine, tasks: [noop] })
  }
  const [asking, working] = [make(), make()]
  await Promise.all([asking.open(), working.open()])
  const worker = new Worker(working, { concurrency: IN_FLIGHT })
  let done = 0
  const finished = new Promise<number>((resolve) =>
    worker.on('completed', () => {
      if (++done === count) resolve(performance.now())
    }),
  )
  const running = worker.run()
  started()
  await callers((index) => asking.dispatch('noop', { index }))
  const end = await finished
  await worker.stop()
  await running
  await asking.close()
  await working.close()
  return end
}
