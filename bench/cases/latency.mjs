// From the dispatch of a task to its result in the dispatcher's hands, one at a time with an idle worker.
import { NAME, openBee, openBullmq, openDeferq, openIoredis, paramsOf } from '../contenders.mjs'
import { openRedisFloor } from '../floors.mjs'
import { expect, latencies } from '../load.mjs'

export const title = 'latency: dispatch to result, one at a time'
export const unit = 'ms'
/**
 * Most of a call is the waking of idle cores, and what that takes changes by half within seconds, for all contenders alike. So they
 * take turns many times a second, and a ratio is that of two short rounds side by side.
 */
export const size = { full: 100, quick: 100 }
export const rounds = { full: 150, quick: 20 }
export const lasting = true
export const engines = ['redis', 'memory', 'sqlite']

export const contenders = {
  async deferq(at) {
    const { deferq, worker, close } = await openDeferq(at, { run: ({ year }) => year, concurrency: 1 })
    void worker.run()
    return { call: (index) => deferq.run(NAME, paramsOf(index)), close }
  },

  async bullmq(at) {
    // With immediate removal its wait can come too late for the result.
    const run = async ({ data }) => data.year
    const { queue, queueEvents, worker, close } = await openBullmq(at, {
      run,
      concurrency: 1,
      events: true,
      keep: 100,
    })
    void worker.run()
    const call = async (index) => (await queue.add(NAME, paramsOf(index))).waitUntilFinished(queueEvents)
    return { call, close }
  },

  async 'bee-queue'(at) {
    const { queue, close } = await openBee(at, { worker: true, events: true })
    queue.process(1, async ({ data }) => data.year)
    const call = (index) =>
      new Promise((resolve, reject) => {
        const job = queue.createJob(paramsOf(index))
        job.on('succeeded', resolve)
        job.on('failed', reject)
        job.save().catch(reject)
      })
    return { call, close }
  },

  // Two calls with what has to be written down so that a crash loses nothing and nobody begins it twice.
  async 'floor: two bare scripts'(at) {
    const { begin, end, close } = await openRedisFloor(at)
    const call = async (index) => {
      const id = await begin(index)
      const { year } = paramsOf(index)
      await end(id, year)
      return index
    }
    return { call, close }
  },

  // What it takes at the least where nothing begins before the store knows of it, and nobody is told before the result is stored.
  async 'floor: two ioredis PINGs'(at) {
    const { client, close } = await openIoredis(at, { pipelined: false })
    const call = async (index) => {
      await client.ping()
      await client.ping()
      return index
    }
    return { call, close }
  },
}

const WARM_UP = 6_000

/** Once: code that runs once in each call is compiled for good after some thousand calls, and until then takes up to 1.6 times as long. */
export const prepare = async (contending) => {
  for (let index = 0; !contending.isWarm && index < WARM_UP; index++) await contending.call(-1 - index)
  contending.isWarm = true
}

/** What has been asked for once would be answered without being run. */
export function measure(contending, count) {
  const from = contending.asked ?? 0
  contending.asked = from + count
  return latencies(count, async (index) =>
    expect(await contending.call(from + index), from + index, 'The result'),
  )
}
