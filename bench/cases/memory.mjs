// What a waiting task with small params takes in the store's memory, everything counted.
import { NAME, openBee, openBullmq, openDeferq, paramsOf } from '../contenders.mjs'
import { openRedisFloor } from '../floors.mjs'
import { inSlices } from '../load.mjs'
import { bytesUsed } from '../redis-memory.mjs'

export const title = 'memory: the store’s bytes for each waiting task'
export const unit = 'B'
export const size = { full: 50_000, quick: 5_000 }
export const engines = ['redis']
// A figure of memory hardly moves.
export const rounds = { full: 3, quick: 1 }

const opened = (open, own) => async (at) => {
  const contender = await open(at)
  return { ...contender, ...own?.(contender), at }
}

/** What the measuring itself costs says nothing about them. */
export const cpu = false

export const contenders = {
  deferq: opened(openDeferq),
  bullmq: opened(openBullmq),
  'bullmq, deduplicated': opened(openBullmq, ({ queue }) => ({
    fill: (indexes) =>
      queue.addBulk(
        indexes.map((index) => ({
          name: NAME,
          data: paramsOf(index),
          opts: { deduplication: { id: `xlsx-${index}` } },
        })),
      ),
  })),
  'bee-queue': opened(openBee),
  'floor: MSET, RPUSH': opened(openRedisFloor),
}

export async function measure({ at, fill }, count) {
  // One before the first look: scripts and the like are there then.
  await fill([-1])
  const before = await bytesUsed(at)
  await inSlices(count, 500, fill)
  return ((await bytesUsed(at)) - before) / count
}
