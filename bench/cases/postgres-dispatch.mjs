// New tasks on PostgreSQL, each with params of its own, from fifty callers at once.
import { NAME, openDeferq, openGraphile, openPgBoss, paramsOf } from '../contenders.mjs'
import { openPostgresFloor } from '../floors.mjs'
import { callsPerSecond, expect } from '../load.mjs'

export const title = 'postgres: new tasks, 50 callers in flight'
export const unit = '/s'
export const size = { full: 20_000, quick: 3_000 }
export const engines = ['postgres']
export const peersOn = 'postgres'

export const contenders = {
  async deferq(at) {
    const { deferq, close } = await openDeferq(at)
    const call = async (index) => {
      const { outcome } = await deferq.dispatch(NAME, paramsOf(index))
      expect(outcome, 'created', 'The outcome')
    }
    return { call, close }
  },

  async 'pg-boss'(at) {
    const { boss, queue, close } = await openPgBoss(at)
    return { call: (index) => boss.send(queue, paramsOf(index)), close }
  },

  async 'graphile-worker'(at) {
    const { utils, close } = await openGraphile(at)
    return { call: (index) => utils.addJob(NAME, paramsOf(index)), close }
  },

  'floor: pg, batched inserts': openPostgresFloor,
}

/** Others had their turn meanwhile, long enough for code to be thrown away and caches to be cold. */
export const prepare = ({ call }, count) =>
  callsPerSecond(Math.ceil(count / 2), 50, (index) => call(-1 - index))

export const measure = ({ call }, count) => callsPerSecond(count, 50, call)
