// New tasks on a Redis Cluster of one master and of three, each a server of its own on this machine; all must bear the same load.
import { NAME, openDeferq, paramsOf } from '../contenders.mjs'
import { callsPerSecond } from '../load.mjs'
import { startCluster } from '../server.mjs'

export const title = 'cluster: new tasks, 100 callers in flight, one master and three'
export const unit = '/s'
export const size = { full: 20_000 }
export const engines = ['redis']
/** Starting the servers takes longer than a round. */
export const lasting = true
/** The server that is looked at is not one of these. */
export const cpu = false

const UNEVEN = 0.1

const clustered = (masters) => async () => {
  const cluster = await startCluster(masters)
  const { deferq, close } = await openDeferq({ url: cluster.url })
  let round = 0
  return {
    call: (index) => deferq.dispatch(NAME, paramsOf(round * 1_000_000 + index)),
    next: () => ++round,
    sizes: cluster.sizes,
    async close() {
      await close()
      await cluster.stop()
    },
  }
}

export const contenders = { deferq: clustered(1), 'deferq, 3 masters': clustered(3) }

export const prepare = ({ call, next }, count) => {
  next()
  return callsPerSecond(Math.ceil(count / 4), 100, (index) => call(count + index))
}

export async function measure({ call, sizes }, count) {
  const rate = await callsPerSecond(count, 100, call)
  const keys = await sizes()
  const mean = keys.reduce((sum, each) => sum + each, 0) / keys.length
  const most = Math.max(...keys.map((each) => Math.abs(each - mean) / mean))
  if (most > UNEVEN) throw new Error(`The load is uneven: ${keys.join(', ')} keys.`)
  return rate
}
