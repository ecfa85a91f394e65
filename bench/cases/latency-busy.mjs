// From dispatch to result while others keep the same queue at about half of what BullMQ bears here: 4,000 tasks a second.

import { NAME, openBee, openBullmq, openDeferq, paramsOf } from '../contenders.mjs'
import { openRedisFloor } from '../floors.mjs'
import { latencies } from '../load.mjs'

export const title = 'latency: dispatch to result beside 4,000 tasks a second'
export const unit = 'ms'
export const size = { full: 1_500 }
export const engines = ['redis', 'memory', 'sqlite']

const EVERY_MS = 5
const AT_ONCE = 20
const CONCURRENCY = 100

export const contenders = {
  async deferq(at) {
    const { deferq, worker, close } = await openDeferq(at, {
      run: ({ year }) => year,
      concurrency: CONCURRENCY,
    })
    void worker.run()
    const add = (index) => deferq.dispatch(NAME, paramsOf(index))
    return { call: (index) => deferq.run(NAME, paramsOf(index)), add, close }
  },

  async bullmq(at) {
    const run = async ({ data }) => data.year
    const settings = { run, concurrency: CONCURRENCY, events: true, keep: 1_000 }
    const { queue, queueEvents, worker, close } = await openBullmq(at, settings)
    void worker.run()
    const add = (index) => queue.add(NAME, paramsOf(index))
    return { call: async (index) => (await add(index)).waitUntilFinished(queueEvents), add, close }
  },

  async 'bee-queue'(at) {
    const { queue, close } = await openBee(at, { worker: true, events: true })
    queue.process(CONCURRENCY, async ({ data }) => data.year)
    const call = (index) =>
      new Promise((resolve, reject) => {
        const job = queue.createJob(paramsOf(index))
        job.on('succeeded', resolve)
        job.on('failed', reject)
        job.save().catch(reject)
      })
    return { call, add: (index) => queue.createJob(paramsOf(index)).save(), close }
  },

  async 'floor: two bare scripts'(at) {
    const { begin, end, close } = await openRedisFloor(at)
    const call = async (index) => end(await begin(index), index)
    return { call, add: call, close }
  },
}

export async function measure({ call, add }, count) {
  let next = 1_000_000
  const calls = new Set()
  const timer = setInterval(() => {
    for (let each = 0; each < AT_ONCE; each++) {
      const added = add(next++).finally(() => calls.delete(added))
      calls.add(added)
    }
  }, EVERY_MS)
  try {
    return await latencies(count, call)
  } finally {
    clearInterval(timer)
    await Promise.all(calls)
  }
}
