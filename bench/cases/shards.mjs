// New tasks on one shard and on three, in the same server.
import { NAME, openDeferq, paramsOf } from '../contenders.mjs'
import { callsPerSecond } from '../load.mjs'

export const title = 'shards: new tasks, 100 callers in flight, one shard and three'
export const unit = '/s'
export const size = { full: 20_000, quick: 4_000 }
export const engines = ['redis']

const sharded = (shards) => async (at) => {
  const { deferq, close } = await openDeferq({ url: `${at.url}?shards=${shards}` })
  return { call: (index) => deferq.dispatch(NAME, paramsOf(index)), close }
}

export const contenders = { deferq: sharded(1), 'deferq, 3 shards': sharded(3) }
/** Others had their turn meanwhile: code may have been thrown away, and caches are cold. */
export const prepare = ({ call }, count) =>
  callsPerSecond(Math.ceil(count / 4), 100, (index) => call(-1 - index))

export const measure = ({ call }, count) => callsPerSecond(count, 100, call)
