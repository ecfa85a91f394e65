// Opens what is compared, each with the settings that its own documentation names for speed; the same params and names for all.
import { pathToFileURL } from 'node:url'

/** The build of deferq to measure; another one than the project's with DEFERQ_BENCH_DIST. */
export const DIST =
  process.env.DEFERQ_BENCH_DIST === undefined
    ? new URL('../dist/', import.meta.url)
    : pathToFileURL(`${process.env.DEFERQ_BENCH_DIST}/`)

export const NAME = 'report.generate'
const QUEUE = 'reports'

export const paramsOf = (index) => ({ year: index, format: 'xlsx' })

/** A deferq, and a worker of it when one is asked for. */
export async function openDeferq({ url: address, own }, { run = () => {}, concurrency, options } = {}) {
  const { DeferQ, task, Worker } = await import(new URL('src/index.js', DIST))
  const report = task(NAME, { resultTtl: '1h', run })
  const url = own === undefined ? address : partOf(address, own)
  const deferq = new DeferQ({ url, tasks: [report], ...options })
  await deferq.open()
  const worker = concurrency === undefined ? undefined : new Worker(deferq, { concurrency })
  return {
    deferq,
    worker,
    fill: (indexes) => deferq.dispatchMany(indexes.map((index) => ({ name: NAME, params: paramsOf(index) }))),
    async close() {
      await worker?.stop()
      await deferq.close()
    },
  }
}

/** Of a server that others use at the same time: tables or keys of its own. */
function partOf(address, own) {
  const option = { redis: 'prefix', postgres: 'schema' }[address.split(':')[0]]
  return option === undefined ? address : `${address}?${option}=${own}`
}

// Each job is removed when it is completed, as its guide to auto-removal says. None of its guides asks for ioredis'
// auto-pipelining, which changes little for its producer and nothing for its worker: it is compared apart.
export async function openBullmq(
  { url },
  { run, concurrency, events = false, keep = 0, pipelined = false } = {},
) {
  const { Queue, QueueEvents, Worker } = await import('bullmq')
  const { hostname: host, port } = new URL(url)
  const connection = { host, port: Number(port || 6_379), enableAutoPipelining: pipelined }
  const removal = { removeOnComplete: keep === 0 ? true : { count: keep }, removeOnFail: true }
  const queue = new Queue(QUEUE, { connection, defaultJobOptions: removal })
  await queue.waitUntilReady()
  const queueEvents = events ? new QueueEvents(QUEUE, { connection }) : undefined
  await queueEvents?.waitUntilReady()
  const worker =
    run === undefined
      ? undefined
      : new Worker(QUEUE, run, {
          connection: { ...connection, maxRetriesPerRequest: null },
          concurrency,
          autorun: false,
        })
  await worker?.waitUntilReady()
  return {
    queue,
    queueEvents,
    worker,
    fill: (indexes) => queue.addBulk(indexes.map((index) => ({ name: NAME, data: paramsOf(index) }))),
    async close() {
      await worker?.close()
      await queueEvents?.close()
      await queue.close()
    },
  }
}

// What its readme calls extra connections and messages is off unless a case needs it.
export async function openBee({ url }, { worker = false, events = false } = {}) {
  const { default: Queue } = await import('bee-queue')
  const queue = new Queue(QUEUE, {
    redis: { url },
    isWorker: worker,
    getEvents: events,
    sendEvents: events,
    storeJobs: events,
    removeOnSuccess: true,
    removeOnFailure: true,
  })
  await queue.ready()
  return {
    queue,
    fill: async (indexes) => {
      const failed = await queue.saveAll(indexes.map((index) => queue.createJob(paramsOf(index))))
      if (failed.size > 0) throw [...failed.values()][0]
    },
    close: () => queue.close(),
  }
}

/**
 * The client that deferq and BullMQ share, by itself: what no library on top of it can beat call by call. `pipelined`: what many ask
 * for in one tick goes together, for which one alone waits a little longer.
 */
export async function openIoredis({ url }, { pipelined = true } = {}) {
  const { Redis } = await import('ioredis')
  const client = new Redis(url, { enableAutoPipelining: pipelined, lazyConnect: true })
  await client.connect()
  return { client, close: () => client.quit() }
}

/** The polling interval is the least it allows; whoever starts a worker may tell it to fetch again at once. */
export async function openPgBoss({ url }) {
  const { default: PgBoss } = await import('pg-boss')
  const boss = new PgBoss({ connectionString: url, supervise: false, schedule: false })
  await boss.start()
  await boss.createQueue(QUEUE)
  return {
    boss,
    queue: QUEUE,
    fill: (indexes) => boss.insert(indexes.map((index) => ({ name: QUEUE, data: paramsOf(index) }))),
    close: () => boss.stop({ graceful: false, wait: true }),
  }
}

// `batched`: with the local queue and the batched completion that its guide to performance names.
export async function openGraphile({ url }, { run, concurrency = 1, batched = true } = {}) {
  const { makeWorkerUtils, run: start } = await import('graphile-worker')
  const silent = { logger: await quietLogger() }
  const utils = await makeWorkerUtils({ connectionString: url, ...silent })
  await utils.migrate()
  let runner
  return {
    utils,
    fill: (indexes) =>
      utils.addJobs(indexes.map((index) => ({ identifier: NAME, payload: paramsOf(index) }))),
    async start(events) {
      runner = await start({
        ...silent,
        events,
        taskList: { [NAME]: run },
        preset: {
          worker: {
            connectionString: url,
            concurrentJobs: concurrency,
            maxPoolSize: 10,
            ...(batched ? { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } : {}),
          },
        },
      })
    },
    async close() {
      await runner?.stop()
      await utils.release()
    },
  }
}

async function quietLogger() {
  const { Logger } = await import('graphile-worker')
  return new Logger(() => () => {})
}
