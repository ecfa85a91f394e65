// New tasks, each with params of its own, from a hundred callers at once.
import { createHash } from 'node:crypto'
import { NAME, openBee, openBullmq, openDeferq, paramsOf } from '../contenders.mjs'
import { openRedisFloor } from '../floors.mjs'
import { callsPerSecond, expect } from '../load.mjs'

export const title = 'dispatch: new tasks, 100 callers in flight'
export const unit = '/s'
export const size = { full: 50_000, quick: 4_000 }
export const engines = ['redis', 'memory', 'sqlite']

export const contenders = {
  async deferq(at) {
    const { deferq, close } = await openDeferq(at)
    const call = async (index) => {
      const { outcome } = await deferq.dispatch(NAME, paramsOf(index))
      expect(outcome, 'created', 'The outcome')
    }
    return { call, close }
  },

  async bullmq(at) {
    const { queue, close } = await openBullmq(at)
    return { call: (index) => queue.add(NAME, paramsOf(index)), close }
  },

  async 'bullmq, auto-pipelined'(at) {
    const { queue, close } = await openBullmq(at, { pipelined: true })
    return { call: (index) => queue.add(NAME, paramsOf(index)), close }
  },

  // The nearer relative: deferq deduplicates every dispatch.
  async 'bullmq, deduplicated'(at) {
    const { queue, close } = await openBullmq(at)
    const call = (index) => queue.add(NAME, paramsOf(index), { deduplication: { id: `xlsx-${index}` } })
    return { call, close }
  },

  async 'bee-queue'(at) {
    const { queue, close } = await openBee(at)
    return { call: (index) => queue.createJob(paramsOf(index)).save(), close }
  },

  async 'floor: ioredis, a script'(at) {
    const { ask, close } = await openRedisFloor(at)
    return { call: async (index) => expect(await ask(index), '', 'The answer'), close }
  },
}

/** Beside engines that live in this process. */
export const alone = {
  'floor: JSON, SHA-256': () => ({
    call: async (index) =>
      createHash('sha256')
        .update(JSON.stringify(paramsOf(index)))
        .digest('hex'),
    close: () => {},
  }),
}

/** Others had their turn meanwhile, long enough for code to be thrown away and caches to be cold. */
export const prepare = ({ call }, count) =>
  callsPerSecond(Math.ceil(count / 4), 100, (index) => call(-1 - index))

export const measure = ({ call }, count) => callsPerSecond(count, 100, call)
