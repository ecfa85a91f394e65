// The command that sends outgoing requests from here: one now, or all that are due, for a cron job.
import { DeferqError } from '../../base/errors.ts'
import { HTTP_REQUEST } from '../../tasks/options.ts'
import type { WorkerOptions } from '../../worker/worker.ts'
import { Worker } from '../../worker/worker.ts'
import type { AnyDeferQ } from '../bootstrap.ts'
import type { Answer } from '../command.ts'
import { command } from '../command.ts'
import { usage } from '../flags.ts'
import type { Paint } from '../format.ts'
import { runBlock, runDocument } from '../runs.ts'

const LIMIT = 100
/** Before all others. */
const FIRST = 100

const request = command({
  name: 'request',
  takes: '[id]',
  about: 'send the outgoing requests that are due, or one of them now',
  more:
    'Without an id it takes those that are due, oldest first, up to the limit, and ends: for a cron job, in place of a\n' +
    'worker that is always there. With one it sends that request now, be it that it is due later, waits for its next\n' +
    'attempt, or failed (a new run then), but never one that has succeeded. The bootstrap file says what it may reach\n' +
    'and which keys it has.',
  tasks: async () => [(await import('../../requests/index.ts')).httpRequest()],
  flags: {
    limit: { kind: 'whole', value: 'count', least: 1, about: `attempts at most (${LIMIT})` },
    concurrency: { kind: 'whole', value: 'count', least: 1, most: 1_000, about: 'at a time (10)' },
    'max-memory': { kind: 'number', value: 'MB', about: 'take no more once it uses this much (0: no limit)' },
  },
  async run({ positionals: [id], values, deferq: open, paint }): Promise<Answer> {
    if (id !== undefined && Object.keys(request.flags).some((flag) => flag in values))
      throw usage('One request is sent by its id: leave out --limit, --concurrency and --max-memory.')
    const deferq = await open()
    if (deferq.tasks?.get(HTTP_REQUEST)?.run === undefined) {
      throw new DeferqError(
        'UNKNOWN_TASK',
        'The bootstrap file has no httpRequest() among its tasks. It comes from deferq/requests: new DeferQ({ tasks: [httpRequest(), …] }).',
      )
    }
    if (id !== undefined) return one(deferq, id, paint)
    const { limit = LIMIT, concurrency = 10, 'max-memory': maxMemory = 0 } = values
    const { reason, released, ...counts } = await worked(deferq, { maxJobs: limit, concurrency, maxMemory })
    const text = Object.entries(counts).map(([what, count]) => `${what} ${count}`)
    return { document: { ...counts, released, reason }, text: text.join(', ') }
  },
})

export const REQUESTING = [request]

async function worked(
  deferq: AnyDeferQ,
  options: WorkerOptions,
  until: (worker: Worker) => void = () => {},
): ReturnType<Worker['run']> {
  const worker = new Worker(deferq, { names: [HTTP_REQUEST], stopWhenEmpty: true, ...options })
  until(worker)
  // Those under way may finish; the second signal ends the process as usual.
  const stop = (): void => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, stop)
    void worker.stop()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop)
  try {
    return await worker.run()
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, stop)
  }
}

async function one(deferq: AnyDeferQ, id: string, paint: Paint): Promise<Answer> {
  const { name, status } = await deferq.getStatus(id)
  if (name !== HTTP_REQUEST) throw usage(`This is a run of '${name}', and no request.`)
  // What has succeeded is only shown.
  const retried = status === 'failed' || status === 'cancelled'
  const taskId = retried ? (await deferq.retry(id)).taskId : id
  if (status !== 'completed') {
    await deferq.hasten(taskId, { priority: FIRST })
    await worked(deferq, { concurrency: 1 }, (worker) => {
      for (const event of ['completed', 'failed', 'retried', 'released', 'lost'] as const) {
        worker.on(event, (about: { taskId: string }) => {
          if (about.taskId === taskId) void worker.stop()
        })
      }
    })
  }
  const receipt = await deferq.getStatus(taskId)
  return {
    document: runDocument(receipt),
    text: runBlock(receipt, paint),
    code: receipt.status === 'completed' ? 0 : 1,
  }
}
