// Tasks through the composed engine over RabbitMQ, from dispatch to completion, beside messages through the same client and broker.
import { DIST, NAME, paramsOf } from '../contenders.mjs'
import { callsPerSecond, countdown, perSecond } from '../load.mjs'
import { BATCH, openBare } from '../rabbitmq.mjs'
import { startRedis } from '../server.mjs'

export const title = 'rabbitmq, composed: dispatch, run, complete, 100 callers and concurrency 100'
export const unit = '/s'
export const size = { full: 10_000, quick: 2_000 }
export const engines = ['rabbitmq']
export const peersOn = 'rabbitmq'

const CALLERS = 100

export const contenders = {
  async deferq(at) {
    const redis = await startRedis()
    const [{ DeferQ, task, Worker }, { composed, redlockLock }, { RabbitmqTransport }] = await Promise.all(
      ['index.js', 'engines/composed/index.js', 'transports/rabbitmq/index.js'].map(
        (file) => import(new URL(`src/${file}`, DIST)),
      ),
    )
    const [{ Keyv }, { default: KeyvRedis }, { Redis }] = await Promise.all([
      import('keyv'),
      import('@keyv/redis'),
      import('ioredis'),
    ])
    const engine = composed({
      tasks: new Keyv(new KeyvRedis(redis.url)),
      lock: redlockLock([new Redis(redis.url)]),
      queue: new RabbitmqTransport({ url: at.url, timeoutMs: 30_000 }),
      prefix: `bench${Date.now()}`,
    })
    const deferq = new DeferQ({ engine, tasks: [task(NAME, { run: async () => {} })] })
    const worker = new Worker(deferq, { concurrency: CALLERS })
    void worker.run()
    // The lane, its queue and every script are there before the clock starts.
    await deferq.run(NAME, paramsOf(-1))
    return {
      async pass(count) {
        const { done, tick } = countdown(count)
        worker.on('completed', tick)
        await callsPerSecond(count, CALLERS, (index) => deferq.dispatch(NAME, paramsOf(index)))
        await done
      },
      async close() {
        await worker.stop()
        await deferq.close()
        await redis.stop()
      },
    }
  },

  async 'bare: amqplib'(at) {
    const { publish, consume, close } = await openBare(at)
    const pass = (count) => Promise.all([callsPerSecond(count / BATCH, 1, publish), consume(count)])
    return { pass, close }
  },
}

export async function measure({ pass }, count) {
  const began = performance.now()
  await pass(count)
  return perSecond(count, began)
}
