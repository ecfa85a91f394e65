// New tasks a thousand a call: what each library has for many at once.
import { openBee, openBullmq, openDeferq, openGraphile, openPgBoss } from '../contenders.mjs'
import { openPostgresFloor, openRedisFloor } from '../floors.mjs'
import { inSlices, perSecond } from '../load.mjs'

export const title = 'dispatchMany: new tasks, 1,000 a call'
export const unit = '/s'
export const size = { full: 20_000, quick: 4_000 }
export const engines = ['redis', 'memory', 'sqlite', 'postgres']

const ON_REDIS = { bullmq: openBullmq, 'bee-queue': openBee, 'floor: MSET, RPUSH': openRedisFloor }
const ON_POSTGRES = {
  'pg-boss': openPgBoss,
  'graphile-worker': openGraphile,
  'floor: pg, an insert': openPostgresFloor,
}

export const contenders = { deferq: openDeferq, ...ON_REDIS, ...ON_POSTGRES }
export const peersOf = { redis: Object.keys(ON_REDIS), postgres: Object.keys(ON_POSTGRES) }

export async function measure({ fill }, count) {
  const began = performance.now()
  await inSlices(count, 1_000, fill)
  return perSecond(count, began)
}
