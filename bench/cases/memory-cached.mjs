// What a cached result takes in the store's memory, everything counted.
import { NAME, openDeferq } from '../contenders.mjs'
import { inSlices } from '../load.mjs'
import { bytesUsed } from '../redis-memory.mjs'

export const title = 'memory: the store’s bytes for each cached result'
export const unit = 'B'
export const size = { full: 50_000, quick: 5_000 }
export const engines = ['redis']
export const rounds = { full: 3, quick: 1 }
/** What the measuring itself costs says nothing about them. */
export const cpu = false

const RESULT = { url: '/reports/report.xlsx', rows: 15_000 }

export const contenders = {
  async deferq(at) {
    const { deferq, fill, close } = await openDeferq(at)
    const engine = await deferq.open()
    const store = async (indexes) => {
      await fill(indexes)
      const want = { names: [NAME], limit: indexes.length, leaseMs: 60_000 }
      const { claimed } = await engine.claim(want)
      const outcomes = claimed.map(({ entry: { id }, token }) => ({
        id,
        token,
        kind: 'completed',
        result: JSON.stringify(RESULT),
      }))
      await engine.settle(outcomes)
    }
    return { at, store, close }
  },

  async 'floor: SET with a time to live'(at) {
    const { Redis } = await import('ioredis')
    const client = new Redis(at.url, { enableAutoPipelining: true })
    const text = JSON.stringify(RESULT)
    const store = (indexes) =>
      Promise.all(indexes.map((index) => client.set(`report.generate:${index}:xlsx`, text, 'PX', 3_600_000)))
    return { at, store, close: () => client.quit() }
  },
}

export async function measure({ at, store }, count) {
  await store([-1])
  const before = await bytesUsed(at)
  await inSlices(count, 500, store)
  return ((await bytesUsed(at)) - before) / count
}
