// A backlog of tasks that do nothing, worked off a hundred at a time.
import { openBee, openBullmq, openDeferq } from '../contenders.mjs'
import { openRedisFloor } from '../floors.mjs'
import { countdown, inSlices, perSecond } from '../load.mjs'

export const title = 'process: a backlog of no-op tasks, concurrency 100'
export const unit = '/s'
export const size = { full: 50_000, quick: 3_000 }
export const engines = ['redis', 'memory', 'sqlite']

const noop = async () => {}

// `start` lets the worker loose and calls `tick` for each task whose end is recorded.
export const contendersAt = (concurrency) => ({
  async deferq(at) {
    const { worker, fill, close } = await openDeferq(at, { run: noop, concurrency })
    const start = (tick) => {
      worker.on('completed', tick)
      void worker.run()
    }
    return { fill, start, close }
  },

  async bullmq(at) {
    const { worker, fill, close } = await openBullmq(at, { run: noop, concurrency })
    const start = (tick) => {
      worker.on('completed', tick)
      void worker.run()
    }
    return { fill, start, close }
  },

  async 'bee-queue'(at) {
    const { queue, fill, close } = await openBee(at, { worker: true })
    const start = (tick) => {
      queue.on('succeeded', tick)
      queue.process(concurrency, noop)
    }
    return { fill, start, close }
  },
})

export const contenders = { ...contendersAt(100), 'floor: ioredis, a script': openRedisFloor }

export const prepare = ({ fill }, count) => inSlices(count, 1_000, fill)

export async function measure({ start }, count) {
  const { done, tick } = countdown(count)
  const began = performance.now()
  start(tick)
  await done
  return perSecond(count, began)
}
