// Ten thousand callers in four processes ask for one thing that nobody has yet: until the last of them has the answer.
import { fork } from 'node:child_process'
import { openDeferq, openIoredis } from '../contenders.mjs'
import { expect } from '../load.mjs'

export const title = 'herd: 10,000 callers in 4 processes, one key, until the last has its answer'
export const unit = 'ms'
export const size = { full: 10_000, quick: 10_000 }
export const engines = ['redis', 'postgres', 'sqlite']
/** The callers are other processes. */
export const cpu = false

const PROCESSES = 4
let key = 0

export const contenders = {
  async deferq(at) {
    let runs = 0
    const run = ({ year }) => {
      runs++
      return { year, rows: 15_000 }
    }
    const { worker, close } = await openDeferq(at, { run, concurrency: 10 })
    void worker.run()
    const herd = await gather('deferq', at.url)
    const call = async (callers) => {
      runs = 0
      const took = await herd.call(callers)
      expect(runs, 1, 'The number of runs')
      return took
    }
    return { call, close: () => herd.close().then(close) }
  },

  async 'floor: ioredis GET'(at) {
    const { client, close } = await openIoredis(at)
    const herd = await gather('get', at.url)
    const call = async (callers) => {
      await client.set(`result:${key + 1}`, JSON.stringify({ year: key + 1, rows: 15_000 }))
      return herd.call(callers)
    }
    return { call, close: () => herd.close().then(close) }
  },
}

export async function measure({ call }, callers) {
  // The first finds connections and code cold.
  await call(callers)
  return call(callers)
}

async function gather(what, url) {
  const children = Array.from({ length: PROCESSES }, () =>
    fork(new URL('../herd.mjs', import.meta.url), [what, url]),
  )
  const answers = () =>
    Promise.all(children.map((child) => new Promise((resolve) => child.once('message', resolve))))
  await answers()
  return {
    async call(callers) {
      key++
      const began = performance.now()
      const all = answers()
      for (const child of children) child.send({ key, callers: callers / PROCESSES })
      for (const { answers } of await all) expect(answers, 1, 'The number of different answers')
      return performance.now() - began
    },
    async close() {
      for (const child of children) child.disconnect()
      await Promise.all(children.map((child) => new Promise((resolve) => child.once('exit', resolve))))
    },
  }
}
