// The command that looks after schedules, and makes the one pass that cron can make in a worker's stead: deferq schedule list|….
import { DeferqError, isDeferqError } from '../../base/errors.ts'
import type { Schedule } from '../../schedule/index.ts'
import type { WorkerSummary } from '../../worker/worker.ts'
import { Worker } from '../../worker/worker.ts'
import type { AnyDeferQ } from '../bootstrap.ts'
import type { Answer } from '../command.ts'
import { command } from '../command.ts'
import { usage } from '../flags.ts'
import type { Paint } from '../format.ts'
import { clean, plain, readable, table } from '../format.ts'
import { nearest } from '../nearest.ts'
import { runBlock, runDocument } from '../runs.ts'

const ACTIONS = ['list', 'pause', 'resume', 'run', 'remove'] as const
type Action = (typeof ACTIONS)[number]

const schedule = command({
  name: 'schedule',
  takes: '<list|pause|resume|run|remove> [key]',
  about: 'look after recurring tasks, or run once all that is due',
  more:
    'list          all schedules, with their next and last occurrence\n' +
    'pause <key>   no more occurrences until it is resumed\n' +
    'resume <key>  goes on with the next occurrence; those in between are not made up for\n' +
    'run <key>     its task once, now, by whatever worker is there\n' +
    'run           one pass, without a worker: makes the occurrences that are due, runs the tasks that are due, and ends\n' +
    'remove <key>  the schedule; tasks that it has made go on\n\n' +
    'Schedules are defined by the app: deferq.schedule(key, { cron, name, params }). Any deferq-worker keeps them. Where there is\n' +
    'none, cron can: * * * * * deferq schedule run --limit=1000 --bootstrap=worker.js (exit code 1 when a task has failed).',
  flags: {
    limit: { kind: 'whole', value: 'count', least: 1, about: 'run: this many tasks at most (1000)' },
    concurrency: {
      kind: 'whole',
      value: 'count',
      least: 1,
      most: 1_000,
      about: 'run: so many at a time (10)',
    },
  },
  async run({ positionals, values, deferq, paint, remark }): Promise<Answer> {
    const [action, key] = positionals as [Action, string | undefined]
    const stray = (['limit', 'concurrency'] as const).find((flag) => values[flag] !== undefined)
    check(action, key, stray)
    if (action === 'list') return listed(await (await deferq()).schedules.list(), paint)
    if (action === 'run' && key === undefined) {
      const opened = await deferq()
      checkTasks(opened)
      return passed(await pass(opened, values.limit ?? 1_000, values.concurrency ?? 10))
    }
    const name = key as string
    const { schedules } = await deferq()
    try {
      switch (action) {
        case 'pause':
          return changed(await schedules.pause(name), `paused: ${clean(name)}`)
        case 'resume': {
          const resumed = await schedules.resume(name)
          return changed(resumed, `resumed: ${clean(name)}, next ${moment(resumed.nextAt)}`)
        }
        case 'run': {
          const receipt = await schedules.run(name)
          remark(`deferq result ${receipt.taskId} --wait`)
          return { document: runDocument(receipt), text: runBlock(receipt, paint) }
        }
        default: {
          if (!(await schedules.remove(name)))
            throw new DeferqError('TASK_NOT_FOUND', `There is no schedule '${name}'.`)
          return { document: { removed: true, key: name }, text: `removed: ${clean(name)}` }
        }
      }
    } catch (error) {
      if (!isDeferqError(error, 'TASK_NOT_FOUND')) throw error
      const keys = (await schedules.list()).map((each) => each.key)
      const meant = nearest(name, keys)
      const advice =
        meant !== undefined ? `Did you mean ${meant}?` : `There are ${keys.join(', ') || 'none at all'}.`
      throw new DeferqError(
        'TASK_NOT_FOUND',
        `There is no schedule '${clean(name)}' in this store. ${clean(advice)}`,
      )
    }
  },
})

export const SCHEDULE = [schedule]

function check(action: string, key: string | undefined, stray: string | undefined): void {
  if (!(ACTIONS as readonly string[]).includes(action)) {
    const meant = nearest(action, ACTIONS)
    throw usage(
      `schedule has no action '${action}'. ${meant === undefined ? `There are ${ACTIONS.join(', ')}.` : `Did you mean ${meant}?`}`,
    )
  }
  if (action === 'list' && key !== undefined)
    throw usage(`schedule list shows all, and takes no key ('${key}').`)
  if (action !== 'list' && action !== 'run' && key === undefined)
    throw usage(`Which schedule? Write deferq schedule ${action} <key>; deferq schedule list shows them.`)
  if (stray === undefined || (action === 'run' && key === undefined)) return
  throw usage(
    action === 'run'
      ? `--${stray} belongs to a pass over all that is due, which takes no key: leave out '${key}', or --${stray}.`
      : `schedule ${action} has no use for --${stray}.`,
  )
}

/** A pass runs handlers, which only a bootstrap brings. */
function checkTasks({ tasks }: AnyDeferQ): void {
  if ([...(tasks?.values() ?? [])].some(({ run }) => run !== undefined)) return
  throw usage(
    'A pass runs tasks, and here are none with a run function: name the file that has them, --bootstrap=worker.js. ' +
      'To run one schedule’s task by a worker, name the schedule: deferq schedule run <key>.',
  )
}

/** As a worker that ends when nothing more is due; a first signal lets what runs finish. */
async function pass(deferq: AnyDeferQ, limit: number, concurrency: number): Promise<WorkerSummary> {
  const worker = new Worker(deferq, { stopWhenEmpty: true, maxJobs: limit, concurrency })
  const stop = (): void => void worker.stop()
  process.once('SIGINT', stop).once('SIGTERM', stop)
  try {
    return await worker.run()
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop)
  }
}

function passed(summary: WorkerSummary): Answer {
  const { claimed, completed, failed, retried, cancelled } = summary
  const rest = [retried > 0 && `to be tried again ${retried}`, cancelled > 0 && `cancelled ${cancelled}`]
  const said = [`claimed ${claimed}`, `completed ${completed}`, `failed ${failed}`, ...rest.filter(Boolean)]
  return { document: summary, text: said.join(', '), code: failed > 0 ? 1 : 0 }
}

const changed = (schedule: Schedule, text: string): Answer => ({ document: plain(schedule), text })

const moment = (date: Date | undefined): string => date?.toISOString().replace('.000Z', 'Z') ?? '-'

function listed(schedules: readonly Schedule[], paint: Paint): Answer {
  const rows = schedules.map((each) => [
    clean(each.key),
    each.cron === undefined ? `every ${readable(each.everyMs as number)}` : `${each.cron} ${each.timezone}`,
    clean(each.name),
    each.paused ? paint('yellow', 'paused') : moment(each.nextAt),
    moment(each.lastAt),
    clean(each.history.at(-1)?.error.message ?? '').slice(0, 60),
  ])
  return {
    document: { schedules: plain(schedules) },
    text:
      rows.length === 0
        ? 'There are no schedules. An app defines them with deferq.schedule(key, { cron, name, params }).'
        : table(['KEY', 'WHEN', 'TASK', 'NEXT', 'LAST', 'TROUBLE'], rows, paint),
  }
}
