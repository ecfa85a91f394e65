// What a waiting task with small params takes in the store's memory, everything counted.
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { NAME, openBee, openBullmq, openDeferq, paramsOf } from '../contenders.mjs'
import { inSlices } from '../load.mjs'

export const title = 'memory: the store’s bytes for each waiting task'
export const unit = 'B'
export const size = { full: 50_000, quick: 20_000 }
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
}

export async function measure({ at, fill }, count) {
  const client = new Redis(at.url)
  // One before the first look: scripts and the like are there then.
  await fill([-1])
  const before = await used(client)
  await inSlices(count, 500, fill)
  const after = await used(client)
  await client.quit()
  return (after - before) / count
}

/** Without the buffers of connections, which come and go. */
async function used(client) {
  // The buffers that a burst has left are cut back a little later.
  await sleep(200)
  const info = await client.info('memory')
  const field = (name) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0)
  return field('used_memory') - field('mem_clients_normal')
}
