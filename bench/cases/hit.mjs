// Dispatches that a stored result answers, from a hundred callers at once.
import { NAME, openDeferq, openIoredis, paramsOf } from '../contenders.mjs'
import { callsPerSecond, expect } from '../load.mjs'

export const title = 'hit: cached results from the store, 100 callers in flight'
export const unit = '/s'
export const size = { full: 50_000, quick: 4_000 }
export const engines = ['redis', 'memory', 'sqlite']

const KEYS = 1_000
const RESULT = { url: '/reports/report.xlsx', rows: 15_000 }

export const contenders = {
  async deferq(at) {
    const { deferq, worker, close } = await openDeferq(at, { run: () => RESULT, concurrency: 100 })
    void worker.run()
    await Promise.all(Array.from({ length: KEYS }, (_, index) => deferq.run(NAME, paramsOf(index))))
    await worker.stop()
    const call = async (index) => {
      const { outcome } = await deferq.dispatch(NAME, paramsOf(index % KEYS))
      expect(outcome, 'hit', 'The outcome')
    }
    return { call, close }
  },

  async 'floor: ioredis GET'(at) {
    const { client, close } = await openIoredis(at)
    await Promise.all(
      Array.from({ length: KEYS }, (_, index) => client.set(`result:${index}`, JSON.stringify(RESULT))),
    )
    return { call: async (index) => JSON.parse(await client.get(`result:${index % KEYS}`)), close }
  },
}

/** Others had their turn meanwhile: code may have been thrown away, and caches are cold. */
export const prepare = ({ call }, count) => callsPerSecond(Math.ceil(count / 4), 100, call)

export const measure = ({ call }, count) => callsPerSecond(count, 100, call)
