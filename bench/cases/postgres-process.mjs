// A backlog of tasks that do nothing on PostgreSQL, worked off a hundred at a time.
import { openDeferq, openGraphile, openPgBoss } from '../contenders.mjs'
import { openPostgresFloor } from '../floors.mjs'
import { countdown, inSlices, perSecond } from '../load.mjs'

export const title = 'postgres: a backlog of no-op tasks, concurrency 100'
export const unit = '/s'
export const size = { full: 5_000, quick: 3_000 }
export const engines = ['postgres']
export const peersOn = 'postgres'

const CONCURRENCY = 100
const noop = async () => {}

// `start` lets the worker loose and calls `tick` for each task that was run.
export const contenders = {
  async deferq(at) {
    const { worker, fill, close } = await openDeferq(at, { run: noop, concurrency: CONCURRENCY })
    const start = (tick) => {
      worker.on('completed', tick)
      void worker.run()
    }
    return { fill, start, close }
  },

  'pg-boss': (at) => pgBoss(at, () => {}),
  // Each batch asks for the next at once, instead of waiting for the polling interval.
  'pg-boss, unthrottled': (at) => pgBoss(at, (boss, worker) => boss.notifyWorker(worker)),
  'graphile-worker': (at) => graphile(at, false),
  'graphile-worker, batched': (at) => graphile(at, true),
  'floor: pg, batched updates': openPostgresFloor,
}

async function pgBoss(at, batchBegins) {
  const { boss, queue, fill, close } = await openPgBoss(at)
  const start = async (tick) => {
    const options = { batchSize: CONCURRENCY, pollingIntervalSeconds: 0.5 }
    const worker = await boss.work(queue, options, async (jobs) => {
      batchBegins(boss, worker)
      for (const _job of jobs) tick()
    })
  }
  return { fill, start, close }
}

async function graphile(at, batched) {
  const { fill, start, close } = await openGraphile(at, { run: noop, concurrency: CONCURRENCY, batched })
  const { EventEmitter } = await import('node:events')
  const events = new EventEmitter()
  return {
    fill,
    start: async (tick) => {
      events.on('job:success', tick)
      await start(events)
    },
    close,
  }
}

export const prepare = ({ fill }, count) => inSlices(count, 1_000, fill)

export async function measure({ start }, count) {
  const { done, tick } = countdown(count)
  const began = performance.now()
  start(tick)
  await done
  return perSecond(count, began)
}
