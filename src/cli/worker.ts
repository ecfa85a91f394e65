// deferq-worker: from flags and a bootstrap file to a running worker, its log, its signals and its exit code.

import { resolve } from 'node:path'
import type { Timer } from '../base/environment.ts'
import { environment } from '../base/environment.ts'
import { maskUrl } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { logByDefaultTo } from '../base/log.ts'
import { packageVersion } from '../base/version.ts'
import type { WorkerSummary } from '../worker/worker.ts'
import { Worker } from '../worker/worker.ts'
import type { AnyDeferQ, Bootstrapped } from './bootstrap.ts'
import { loadBootstrap, wrong } from './bootstrap.ts'
import { Consuming, checkConsuming } from './consuming.ts'
import { codeOf, failureText, stackOf, wantsStacks } from './failure.ts'
import { misspeltVariables, readFlags, split, usage } from './flags.ts'
import type { Paint } from './format.ts'
import { paintFor, readable } from './format.ts'
import { cliLogger } from './logger.ts'
import { endProcess, writeTo } from './process.ts'
import type { WorkerFlags } from './worker-flags.ts'
import { ofTheWorker, WORKER_FLAGS, workerHelp, workerOptions } from './worker-flags.ts'
import type { Crew } from './worker-signals.ts'
import { CLOSE_MS, Signals } from './worker-signals.ts'

const PROGRAM = 'deferq-worker'

export async function workerMain(
  argv: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  const paint = paintFor(process.stderr, environment)
  let flags: WorkerFlags
  try {
    flags = readWorkerFlags(argv, environment)
  } catch (error) {
    report(error, argv.includes('--json'), paint, environment)
    return endProcess(2)
  }
  const { values } = flags
  if (values.help) return endProcess(0, workerHelp())
  if (values.version) return endProcess(0, `${packageVersion()}\n`)
  const json = values.json ?? false
  const logger = cliLogger({
    json,
    quiet: values.quiet ?? false,
    verbose: wantsStacks(environment),
    paint,
    write: writeTo(process.stderr),
  })
  logByDefaultTo(logger)
  try {
    for (const text of misspeltVariables(WORKER_FLAGS, environment)) logger.warn({}, text)
    endProcess(await work(flags, logger))
  } catch (error) {
    report(error, json, paint, environment)
    endProcess(codeOf(error) === 'USAGE' ? 2 : 1)
  }
}

export function readWorkerFlags(argv: readonly string[], environment: NodeJS.ProcessEnv): WorkerFlags {
  const parts = split(argv, WORKER_FLAGS)
  // Help is for those who don't know the flags yet: nothing else has to be right for it.
  const asked = parts.options.find(({ name, inline }) => (name === 'help' || name === 'version') && !inline)
  if (asked !== undefined)
    return { values: asked.name === 'help' ? { help: true } : { version: true }, sources: new Map() }
  const flags = readFlags(parts, WORKER_FLAGS, environment, PROGRAM, elsewhere)
  const [first] = parts.positionals
  if (first !== undefined) {
    const advice = /\.[cm]?[jt]sx?$/.test(first)
      ? `Did you mean --bootstrap=${first}?`
      : 'It takes flags alone.'
    throw usage(`${PROGRAM} does not know what to do with '${first}'. ${advice}`)
  }
  if (flags.values.bootstrap === undefined) {
    throw usage(
      'There is no bootstrap file: which tasks are to be run? Write --bootstrap=worker.ts, or set DEFERQ_BOOTSTRAP.',
    )
  }
  checkConsuming(flags)
  return flags
}

function elsewhere(name: string): string | undefined {
  if (name === 'url')
    return `${PROGRAM} has no flag --url: the bootstrap file says where the store is, with new DeferQ({ url }).`
  if (name === 'task-timeout') return `${PROGRAM} has no flag --task-timeout: it is called --timeout.`
  return undefined
}

async function work(flags: WorkerFlags, logger: Logger): Promise<number> {
  const path = flags.values.bootstrap as string
  const options = workerOptions(flags, logger)
  const signals = new Signals(logger)
  const made = await loadBootstrap(path, options, (message) => logger.warn({}, message))
  if (signals.count > 0) return ended(made.deferq, logger, 'stopped before it began', 0)
  const worker = made.worker ?? workerOf(made.deferq, path, flags, options)
  warnOfFlags(made, flags, path, logger)
  const since = follow(worker, logger)
  greet(worker, made.worker === undefined ? options.names : undefined, logger)
  const consuming =
    flags.values.consume === undefined ? undefined : new Consuming(made.deferq, made.handlers, flags, logger)
  const run = runBoth(worker, consuming)
  const crew: Crew = {
    stop: () => Promise.all([worker.stop(), consuming?.stop()]),
    abort: () => Promise.all([worker.abort(), consuming?.stop()]),
  }
  const forced = signals.drive(crew, run)
  let summary: WorkerSummary | undefined
  try {
    summary = await Promise.race([run, forced])
  } catch (error) {
    await consuming?.close().catch(() => {})
    await close(made.deferq, logger)
    throw error
  }
  if (summary === undefined) {
    logger.error(
      {},
      'the store does not answer: what ran is left, and goes to other workers when its lease is over',
    )
    return 1
  }
  const { reason, ...counts } = summary
  const after = readable(environment.monotonic() - since)
  await close(made.deferq, logger)
  logger.info({ reason, ...counts }, `the worker has ended after ${after}: ${REASONS[reason] ?? reason}`)
  return 0
}

/** A bridge that fails for good ends the worker with its error. */
async function runBoth(worker: Worker, consuming: Consuming | undefined): Promise<WorkerSummary> {
  await consuming?.before()
  const beside = consuming?.beside()
  beside?.catch(() => worker.stop())
  const summary = await worker.run()
  await consuming?.stop()
  await beside
  await consuming?.after()
  return summary
}

const REASONS: Record<WorkerSummary['reason'], string> = {
  stopped: 'it was stopped',
  aborted: 'it was aborted',
  maxJobs: 'it has run as many tasks as it should',
  maxMemory: 'it uses as much memory as it may',
  maxRuntime: 'it has run for as long as it should',
  empty: 'there is nothing more to do',
}

function workerOf(
  deferq: AnyDeferQ,
  path: string,
  { values, sources }: WorkerFlags,
  options: ConstructorParameters<typeof Worker>[1],
): Worker {
  const handled = [...(deferq.tasks?.values() ?? [])].filter((task) => task.run !== undefined)
  if (handled.length === 0) {
    const found = deferq.tasks === undefined ? 'has no tasks' : 'has no task with a run function'
    throw wrong(
      path,
      resolve(path),
      `its DeferQ ${found}, so there is nothing to run`,
      'Give it some: new DeferQ({ tasks: […] })',
    )
  }
  const stranger = values.names?.find((name) => !handled.some((task) => task.name === name))
  if (stranger !== undefined) {
    const known = handled.map(({ name }) => name).join(', ')
    throw usage(
      `${sources.get('names')} has '${stranger}', for which ${path} has no handler. Known: ${known}.`,
    )
  }
  return new Worker(deferq, options)
}

/** A finished worker can't be told anything any more; whoever gave flags would believe that it had been. */
function warnOfFlags({ worker, deaf }: Bootstrapped, flags: WorkerFlags, path: string, logger: Logger): void {
  const given = ofTheWorker(flags)
  if (worker === undefined || deaf === undefined || given.length === 0) return
  logger.warn(
    {},
    `${given.join(', ')} ${given.length === 1 ? 'has' : 'have'} no effect: ${path} ${deaf}. ` +
      'Export a function that receives them: export default (options) => new Worker(deferq, options)',
  )
}

function greet({ deferq }: Worker, wanted: readonly string[] | undefined, logger: Logger): void {
  const names =
    wanted ??
    [...(deferq.tasks?.values() ?? [])].flatMap(({ name, run }) => (run === undefined ? [] : [name]))
  const shown = names.length > 10 ? [...names.slice(0, 10), `${names.length - 10} more`] : names
  logger.info({ tasks: shown.join(','), pid: process.pid }, 'the worker starts')
  deferq.open().then(
    ({ name, caveats }) => {
      logger.info({ store: name }, 'connected')
      for (const caveat of caveats) logger.debug({ store: name }, caveat)
      if (name === 'memory')
        logger.warn({}, 'the store is this process’s memory: no other process can dispatch to this worker')
    },
    // The worker tries again by itself, and says so.
    () => {},
  )
}

/** A line for each start and end of a task; failures are logged by the worker, with their reason. */
function follow(worker: Worker, logger: Logger): number {
  const begun = new Map<string, number>()
  const end = ({ taskId }: { taskId: string }): { took?: string } => {
    const at = begun.get(taskId)
    begun.delete(taskId)
    return at === undefined ? {} : { took: readable(environment.monotonic() - at) }
  }
  worker.on('started', (about) => {
    begun.set(about.taskId, environment.monotonic())
    logger.info({ attempt: about.attempt, taskId: about.taskId }, `'${about.name}' started`)
  })
  worker.on('completed', (about) => {
    logger.info({ ...end(about), attempt: about.attempt, taskId: about.taskId }, `'${about.name}' completed`)
  })
  worker.on('released', (about) => {
    logger.info({ ...end(about), taskId: about.taskId }, `'${about.name}' released for other workers`)
  })
  worker.on('failed', end)
  worker.on('cancelled', end)
  worker.on('retried', end)
  worker.on('lost', end)
  return environment.monotonic()
}

async function ended(deferq: AnyDeferQ, logger: Logger, message: string, code: number): Promise<number> {
  await close(deferq, logger)
  logger.info({}, message)
  return code
}

async function close(deferq: AnyDeferQ, logger: Logger): Promise<void> {
  let timer: Timer | undefined
  const late = new Promise<'late'>((resolve) => {
    timer = environment.setTimeout(() => resolve('late'), CLOSE_MS)
  })
  try {
    if ((await Promise.race([deferq.close(), late])) === 'late')
      logger.warn({}, `the store was not closed within ${readable(CLOSE_MS)}`)
  } catch (error) {
    logger.warn({ error }, 'the store could not be closed')
  } finally {
    environment.clearTimeout(timer)
  }
}

function report(error: unknown, json: boolean, paint: Paint, environment: NodeJS.ProcessEnv): void {
  const write = writeTo(process.stderr)
  const stacks = wantsStacks(environment)
  if (json) {
    const message = `${codeOf(error)}: ${error instanceof Error ? error.message : String(error)}`
    cliLogger({ json, quiet: false, verbose: stacks, paint, write }).error({ error }, message)
    return
  }
  write(`${failureText(error, paint, { stacks, help: `${PROGRAM} --help` })}\n`)
  // A bootstrap's own error is its author's to mend, and its stack says where.
  const { cause } = (error ?? {}) as { cause?: unknown }
  if (!stacks && codeOf(error) === 'INVALID_BOOTSTRAP' && cause !== undefined)
    write(`${maskUrl(stackOf(cause)).replace(/^/gm, '    ')}\n`)
}
