// The flags of deferq-worker, and the worker options that come of them.

import type { Logger } from '../base/log.ts'
import { UNKNOWN_STRATEGIES } from '../bridge/options.ts'
import type { WorkerOptions } from '../worker/worker.ts'
import type { Flags, Reading } from './flags.ts'
import { HELP_FLAGS, usage } from './flags.ts'
import { flagLines } from './help.ts'
import { DEFAULT_URL } from './url.ts'

export const WORKER_FLAGS = {
  bootstrap: {
    kind: 'text',
    value: 'file',
    environment: true,
    about: 'the file whose default export is to be run (required)',
  },
  concurrency: {
    kind: 'whole',
    value: 'count',
    least: 1,
    most: 1_000,
    environment: true,
    about: 'tasks at a time (10)',
  },
  queues: {
    kind: 'list',
    value: 'a,b',
    environment: true,
    about: 'queues to take from (all); with --consume, the broker’s',
  },
  names: {
    kind: 'list',
    value: 'a,b',
    environment: true,
    about: 'tasks to take (all that have a handler)',
  },
  sleep: {
    kind: 'duration',
    value: 'time',
    environment: true,
    about: 'how long to sleep between looks when there is no work (1s)',
  },
  'max-jobs': {
    kind: 'whole',
    value: 'count',
    environment: true,
    about: 'end after this many tasks (0: never)',
  },
  'max-memory': {
    kind: 'number',
    value: 'MB',
    environment: true,
    about: 'end, between tasks, above this much memory (128; 0: never)',
  },
  'max-runtime': {
    kind: 'duration',
    value: 'time',
    environment: true,
    about: 'end after this long (0: never)',
  },
  timeout: {
    kind: 'duration',
    value: 'time',
    environment: true,
    about: 'how long one attempt may take, unless its task says otherwise (300s)',
  },
  lease: {
    kind: 'duration',
    value: 'time',
    environment: true,
    about: 'a task without a heartbeat for this long goes to another worker (30s)',
  },
  grace: {
    kind: 'duration',
    value: 'time',
    environment: true,
    about: 'how long running tasks may go on after a signal (30s)',
  },
  consume: {
    kind: 'texts',
    value: 'url',
    environment: true,
    about: 'take messages from this broker too (amqp://, redis://, postgres://, sqlite:); may be repeated',
  },
  unknown: {
    kind: 'text',
    choices: UNKNOWN_STRATEGIES,
    environment: true,
    about: 'what becomes of a message that no task is there for (fail)',
  },
  'max-attempts': {
    kind: 'whole',
    value: 'count',
    least: 1,
    most: 10_000,
    environment: true,
    about: 'attempts at a message, those made elsewhere included (the task’s own)',
  },
  backoff: {
    kind: 'list',
    value: '1s,5s',
    environment: true,
    about: 'the wait before each next attempt at a message, the last one repeated (the task’s own)',
  },
  visibility: {
    kind: 'duration',
    value: 'time',
    environment: true,
    about: 'how long a message is this worker’s own, between heartbeats (90s)',
  },
  once: { kind: 'switch', environment: true, about: 'run one task, or one message, and end' },
  'stop-when-empty': { kind: 'switch', environment: true, about: 'end once there is nothing to do' },
  quiet: { kind: 'switch', environment: true, about: 'log warnings and errors alone' },
  json: { kind: 'switch', environment: true, about: 'log lines as JSON' },
  ...HELP_FLAGS,
} as const satisfies Flags

export type WorkerFlags = Reading<typeof WORKER_FLAGS>

const MAX_MEMORY_MB = 128
/** What is said of messages, and means nothing without --consume. */
export const OF_MESSAGES = ['unknown', 'max-attempts', 'backoff', 'visibility'] as const
const OF_THE_PROGRAM = new Set<string>([
  'bootstrap',
  'quiet',
  'json',
  'help',
  'version',
  'consume',
  ...OF_MESSAGES,
])

/** What a worker is made with; a bootstrap that is a function receives the same. */
export function workerOptions({ values, sources }: WorkerFlags, logger: Logger): WorkerOptions {
  const { concurrency, queues, names, sleep, timeout, lease, grace, once = false } = values
  if (lease !== undefined && lease < 100)
    throw usage(`${sources.get('lease')} is ${lease} ms: use 100 or more, heartbeats come at a third of it.`)
  if (timeout === 0) throw usage(`${sources.get('timeout')} is 0: an attempt needs some time.`)
  const options: WorkerOptions = {
    concurrency: once ? 1 : concurrency,
    // With --consume they are those of the broker.
    queues: values.consume === undefined ? queues : undefined,
    names,
    sleep,
    maxJobs: once ? 1 : values['max-jobs'],
    maxMemory: values['max-memory'] ?? MAX_MEMORY_MB,
    maxRuntime: values['max-runtime'],
    stopWhenEmpty: once || values['stop-when-empty'],
    taskTimeout: timeout,
    lease,
    grace,
    logger,
  }
  // What was not given is left out, so that { concurrency: 5, ...options } keeps its 5.
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

/** The flags that a finished worker can't take any more, as they were written. */
export function ofTheWorker({ values, sources }: WorkerFlags): string[] {
  return [...sources].flatMap(([name, source]) =>
    OF_THE_PROGRAM.has(name) || (name === 'queues' && values.consume !== undefined) ? [] : [source],
  )
}

export function workerHelp(): string {
  return `deferq-worker runs tasks.

Usage: deferq-worker --bootstrap=worker.ts [flags]

The default export of the bootstrap file (.ts, .mts, .js, .mjs, …) is a DeferQ with tasks, or a function that gets
the flags as worker options and returns a DeferQ or a Worker, or a finished Worker, which keeps its own options:

  // worker.ts
  import { DeferQ, Worker, type WorkerOptions } from 'deferq'
  import { tasks } from './tasks.ts'

  const deferq = new DeferQ({ url: process.env.DEFERQ_URL ?? '${DEFAULT_URL}', tasks })
  export default deferq   // or: (options: WorkerOptions) => new Worker(deferq, { ...options, lease: '1m' })

With --consume it also takes messages from a broker, and runs each as the task that is called like its URN, or that the
bootstrap file names: export const handlers = { 'urn:babel:orders:created': 'order.import' }

  deferq-worker --bootstrap=worker.ts --consume=amqp://localhost --queues=orders,invoices

Flags, each with the environment variable that stands in for it:
${flagLines(WORKER_FLAGS)}

Times are milliseconds (1500) or have a unit (250ms, 90s, 5m, 1h). DEBUG=deferq logs more, NO_COLOR=1 without colour.

Signals: the first SIGTERM or SIGINT takes no new work and lets running tasks finish within the grace time; a second
one aborts them at once. What had not finished is released to other workers.
Exit codes: 0 ended as it was meant to, 1 failed, 2 wrong usage.
`
}
