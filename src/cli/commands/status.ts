// The commands that only look: status, result, list and stats.
import type { Filter, Status } from '../../contract/engine.ts'
import type { Receipt } from '../../tasks/task.ts'
import type { Answer } from '../command.ts'
import { command } from '../command.ts'
import { clean, plain, table } from '../format.ts'
import { jsonText, runBlock, runDocument, runTable, waitFor } from '../runs.ts'

const PAGE = 1_000
const STATUSES: readonly Status[] = ['pending', 'running', 'completed', 'failed', 'cancelled']

const status = command({
  name: 'status',
  takes: '<id>',
  about: 'show where a run stands',
  more: 'The exit code is 0 for any run that is there. With --watch it waits for the end, and is 1 unless it completed.',
  flags: { watch: { kind: 'switch', about: 'follow the run until it has ended' } },
  async run(scene): Promise<Answer> {
    const [taskId] = scene.positionals as [string]
    const deferq = await scene.deferq()
    let receipt: Receipt = await deferq.getStatus(taskId)
    if (scene.values.watch && (receipt.status === 'pending' || receipt.status === 'running')) {
      let failure: unknown
      await waitFor(scene, deferq, taskId, undefined).catch((error) => {
        failure = error
      })
      receipt = await deferq.getStatus(taskId)
      if (receipt.status === 'pending' || receipt.status === 'running') throw failure
    }
    const code = scene.values.watch && receipt.status !== 'completed' ? 1 : 0
    return { document: runDocument(receipt), text: runBlock(receipt, scene.paint), code }
  },
})

const result = command({
  name: 'result',
  takes: '<id>',
  about: 'print the result of a run',
  more: 'As JSON. The exit code is 1 while there is none, and when the run failed or was cancelled.',
  flags: { wait: { kind: 'wait', value: '30s', about: 'wait for it (for so long)' } },
  async run(scene): Promise<Answer> {
    const [taskId] = scene.positionals as [string]
    const { wait } = scene.values
    const deferq = await scene.deferq()
    // An unknown or ended run is answered at once, and its error thrown by getResult.
    const first = await deferq.getStatus(taskId)
    if (wait !== undefined && (first.status === 'pending' || first.status === 'running'))
      await waitFor(scene, deferq, taskId, wait === true ? undefined : wait)
    const value = await deferq.getResult(taskId)
    return { document: runDocument(await deferq.getStatus(taskId)), text: jsonText(value) }
  },
})

const list = command({
  name: 'list',
  takes: '',
  about: 'list runs',
  flags: {
    status: { kind: 'text', choices: STATUSES, about: 'in this state alone' },
    name: { kind: 'text', value: 'name', about: 'of this task alone' },
    queue: { kind: 'text', value: 'name', about: 'of this queue alone' },
    limit: { kind: 'whole', value: 'count', least: 1, about: 'this many at most (50)' },
  },
  async run(scene): Promise<Answer> {
    const { limit = 50, name, queue } = scene.values
    const deferq = await scene.deferq()
    const filter: Filter = {
      ...(scene.values.status === undefined ? {} : { status: scene.values.status as Status }),
      ...(name === undefined ? {} : { name }),
      ...(queue === undefined ? {} : { queue }),
    }
    const runs: Receipt[] = []
    let cursor: string | undefined
    do {
      const page = await deferq.list({ ...filter, limit: Math.min(PAGE, limit - runs.length) }, cursor)
      runs.push(...page.receipts)
      cursor = page.cursor
    } while (cursor !== undefined && runs.length < limit)
    const more = cursor !== undefined
    if (more) scene.remark(`There may be more: --limit=${limit * 10}`)
    const text = runs.length === 0 ? 'There is nothing here.' : runTable(runs, scene.paint)
    return { document: { runs: runs.map(runDocument), more }, text }
  },
})

const stats = command({
  name: 'stats',
  takes: '',
  about: 'count what waits, what runs, and what has happened',
  flags: {},
  async run({ deferq, paint }): Promise<Answer> {
    const counts = await (await deferq()).stats()
    const { lanes, paused, totals } = counts
    const rows = lanes.map(({ queue, name, pending, running }) => [
      clean(queue),
      clean(name),
      String(pending),
      String(running),
    ])
    const now =
      rows.length === 0
        ? 'Nothing waits or runs.'
        : table(['QUEUE', 'TASK', 'PENDING', 'RUNNING'], rows, paint)
    const held = paused.map((each) =>
      'queue' in each ? `queue ${clean(each.queue)}` : `task ${clean(each.name)}`,
    )
    const stopped = held.length === 0 ? '' : `\n${paint('yellow', 'Paused:')} ${held.join(', ')}`
    const ever = Object.entries(totals).filter(([, count]) => count > 0)
    const since =
      ever.length === 0
        ? 'Nothing has happened yet.'
        : table(
            ['SINCE THE STORE BEGAN', 'COUNT'],
            ever.map(([what, count]) => [what, String(count)]),
            paint,
          )
    return { document: plain(counts), text: `${now}${stopped}\n\n${since}` }
  },
})

export const LOOKING = [status, result, list, stats]
