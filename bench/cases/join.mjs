// Duplicates of tasks that wait already, from a hundred callers at once; no two for one key in the same tick.
import { NAME, openBullmq, openDeferq, paramsOf } from '../contenders.mjs'
import { openRedisFloor } from '../floors.mjs'
import { callsPerSecond, expect } from '../load.mjs'

export const title = 'join: duplicates of waiting tasks, 100 callers in flight'
export const unit = '/s'
export const size = { full: 50_000, quick: 3_000 }
export const engines = ['redis', 'memory', 'sqlite']

// Ten times as many as there are callers: what is in flight at one time is for different keys.
const KEYS = 1_000
const keys = Array.from({ length: KEYS }, (_, index) => index)

export const contenders = {
  async deferq(at) {
    const { deferq, fill, close } = await openDeferq(at)
    await fill(keys)
    const call = async (index) => {
      const { outcome } = await deferq.dispatch(NAME, paramsOf(index % KEYS))
      expect(outcome, 'joined', 'The outcome')
    }
    return { call, close }
  },

  async bullmq(at) {
    const { queue, close } = await openBullmq(at)
    const call = (index) =>
      queue.add(NAME, paramsOf(index % KEYS), { deduplication: { id: `xlsx-${index % KEYS}` } })
    for (const index of keys) await call(index)
    return { call, close }
  },

  async 'floor: ioredis, a script'(at) {
    const { ask, close } = await openRedisFloor(at)
    await Promise.all(keys.map(ask))
    return { call: async (index) => JSON.parse(await ask(index % KEYS)), close }
  },
}

/** Others had their turn meanwhile: code may have been thrown away, and caches are cold. */
export const prepare = ({ call }, count) => callsPerSecond(Math.ceil(count / 4), 100, call)

export const measure = ({ call }, count) => callsPerSecond(count, 100, call)
