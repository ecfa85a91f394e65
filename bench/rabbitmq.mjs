// The contenders of the RabbitMQ cases: deferq's transport, and the same client library with nothing around it.
import { connect } from 'amqplib'
import { DIST } from './contenders.mjs'

export const BATCH = 100
const QUEUE = 'deferq-bench'
const BODY = Buffer.from(JSON.stringify({ name: 'xlsx', params: { id: 1, text: 'x'.repeat(200) } }))
const batchOf = (make) => Array.from({ length: BATCH }, make)

/** `loops` take side by side, as the turns of a worker do. */
export async function openTransport({ url }, loops = 1) {
  const { RabbitmqTransport } = await import(new URL('src/transports/rabbitmq/index.js', DIST))
  const transport = new RabbitmqTransport({ url, timeoutMs: 30_000 })
  // The first makes the queue; then it is empty for each contender.
  await transport.publish([{ queue: QUEUE, body: BODY }])
  const client = await connect(url)
  await (await client.createChannel()).purgeQueue(QUEUE)
  await client.close()
  const want = { queues: [QUEUE], limit: BATCH, visibilityMs: 60_000, waitMs: 1_000 }
  return {
    publish: () => transport.publish(batchOf(() => ({ queue: QUEUE, body: BODY }))),
    async consume(count) {
      let taken = 0
      const loop = async () => {
        while (taken < count) {
          const found = await transport.reserve(want)
          taken += found.length
          await transport.ack(found)
        }
      }
      await Promise.all(Array.from({ length: loops }, loop))
    },
    close: () => transport.close(),
  }
}

/** Confirms by the batch, a prefetch of a batch, and each message acked as it comes. */
export async function openBare({ url }) {
  // In the same queue, declared by deferq.
  await (await openTransport({ url })).close()
  const client = await connect(url, { noDelay: true })
  const sending = await client.createConfirmChannel()
  const taking = await client.createChannel()
  await taking.prefetch(BATCH)
  const options = { persistent: true, mandatory: true }
  const send = () =>
    new Promise((resolve, reject) => {
      sending.publish('', QUEUE, BODY, options, (error) => (error ? reject(error) : resolve()))
    })
  return {
    publish: () => Promise.all(batchOf(send)),
    async consume(count) {
      let left = count
      const { promise, done } = ending()
      const take = (message) => {
        taking.ack(message)
        if (--left === 0) done()
      }
      const { consumerTag } = await taking.consume(QUEUE, take)
      await promise
      // A round trip: the broker has the acks.
      await taking.cancel(consumerTag)
    },
    close: () => client.close(),
  }
}

function ending() {
  let done
  const promise = new Promise((resolve) => {
    done = resolve
  })
  return { promise, done }
}
