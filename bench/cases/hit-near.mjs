// Cached results within the process, one caller: deferq's memory engine beside caches that do nothing else.
import { NAME, openDeferq, paramsOf } from '../contenders.mjs'
import { callsPerSecond } from '../load.mjs'

export const title = 'hit: cached results in memory, one caller'
export const unit = '/s'
export const size = { full: 100_000, quick: 30_000 }
export const engines = ['memory']
export const peersOn = 'memory'

const KEYS = 1_000
const RESULT = { url: '/reports/report.xlsx', rows: 15_000 }

export const contenders = {
  async deferq(at) {
    const { deferq, worker, close } = await openDeferq(at, {
      run: () => RESULT,
      concurrency: 100,
      options: { nearCache: true },
    })
    void worker.run()
    await Promise.all(Array.from({ length: KEYS }, (_, index) => deferq.run(NAME, paramsOf(index))))
    await worker.stop()
    return { call: (index) => deferq.run(NAME, paramsOf(index % KEYS)), close }
  },

  async 'async-cache-dedupe'() {
    const { createCache } = await import('async-cache-dedupe')
    const cache = createCache({ ttl: 3_600, storage: { type: 'memory', options: { size: 10_000 } } })
    cache.define('report', async () => RESULT)
    return warmed((index) => cache.report(paramsOf(index % KEYS)))
  },

  async bentocache() {
    const { BentoCache, bentostore } = await import('bentocache')
    const { memoryDriver } = await import('bentocache/drivers/memory')
    const store = bentostore().useL1Layer(memoryDriver({ maxItems: 10_000 }))
    const bento = new BentoCache({ default: 'cache', stores: { cache: store } })
    const factory = async () => RESULT
    return warmed((index) => bento.getOrSet({ key: `report:${index % KEYS}:xlsx`, ttl: '1h', factory }))
  },

  async keyv() {
    const { Keyv } = await import('keyv')
    const keyv = new Keyv()
    for (let index = 0; index < KEYS; index++) await keyv.set(`report:${index}:xlsx`, RESULT, 3_600_000)
    return { call: (index) => keyv.get(`report:${index % KEYS}:xlsx`), close: () => {} }
  },

  // No deadline, no copy: nobody keeps anything with less.
  async 'floor: a Map'() {
    const kept = new Map(
      Array.from({ length: KEYS }, (_, index) => [JSON.stringify(paramsOf(index)), RESULT]),
    )
    return { call: async (index) => kept.get(JSON.stringify(paramsOf(index % KEYS))), close: () => {} }
  },
}

async function warmed(call) {
  for (let index = 0; index < KEYS; index++) await call(index)
  return { call, close: () => {} }
}

export const measure = ({ call }, count) => callsPerSecond(count, 1, call)
