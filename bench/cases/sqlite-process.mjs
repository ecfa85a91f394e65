// No-op tasks on SQLite, beside a bare prepared update for each in batches of a hundred.
import { openDeferq } from '../contenders.mjs'
import { countdown, inSlices, perSecond } from '../load.mjs'
import { openTable } from '../sqlite.mjs'

export const title = 'sqlite: a backlog of no-op tasks, concurrency 100'
export const unit = '/s'
export const size = { full: 20_000, quick: 5_000 }
export const engines = ['sqlite']
export const peersOn = 'sqlite'

export const contenders = {
  async deferq(at) {
    const { worker, fill, close } = await openDeferq(at, { run: async () => {}, concurrency: 100 })
    const play = async (count) => {
      const { done, tick } = countdown(count)
      worker.on('completed', tick)
      void worker.run()
      await done
    }
    return { fill: (count) => inSlices(count, 1_000, fill), play, close }
  },

  async 'floor: prepared update'() {
    const { insert, update, close } = await openTable()
    return { fill: insert, play: update, close }
  },
}

export const prepare = ({ fill }, count) => fill(count)

export async function measure({ play }, count) {
  const began = performance.now()
  await play(count)
  return perSecond(count, began)
}
