// New tasks on SQLite, beside a bare prepared insert for each in batches of a hundred.
import { NAME, openDeferq, paramsOf } from '../contenders.mjs'
import { callsPerSecond, perSecond } from '../load.mjs'
import { openTable } from '../sqlite.mjs'

export const title = 'sqlite: new tasks, 100 callers in flight'
export const unit = '/s'
export const size = { full: 20_000, quick: 5_000 }
export const engines = ['sqlite']
export const peersOn = 'sqlite'

export const contenders = {
  async deferq(at) {
    const { deferq, close } = await openDeferq(at)
    const play = (count) => callsPerSecond(count, 100, (index) => deferq.dispatch(NAME, paramsOf(index)))
    return { play, close }
  },

  async 'floor: prepared insert'() {
    const { insert, close } = await openTable()
    const play = (count) => {
      const began = performance.now()
      insert(count)
      return perSecond(count, began)
    }
    return { play, close }
  },
}

export const measure = ({ play }, count) => play(count)
