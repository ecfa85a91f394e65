// deferq schedule as real processes: what it answers, the one pass, its exit codes, and what it says to typical mistakes.
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Ended } from './program.ts'
import { Installation } from './program.ts'

let installed: Installation

beforeAll(() => {
  installed = new Installation()
  // Each process has a store of its own, with two schedules in it; of one an occurrence is due as soon as the pass begins.
  installed.write(
    'worker.mjs',
    `import { DeferQ, task } from 'deferq'
     const deferq = new DeferQ({ tasks: [
       task('report', { run: async ({ year }) => {
         if (year === 0) throw new TypeError('the disk is full')
         return year
       }, retries: 0 }),
     ] })
     await deferq.schedule('daily', { cron: '30 3 * * 1-5', timezone: 'Europe/Berlin', name: 'report', params: { year: 2024 } })
     await deferq.schedule('often', { every: '1s', name: 'report', params: { year: Number(process.env.YEAR ?? 1) } })
     if (process.env.JOBS) for (let year = 1; year <= Number(process.env.JOBS); year++) await deferq.dispatch('report', { year })
     if (process.env.DUE) await new Promise((resolve) => setTimeout(resolve, 1_050))
     export default deferq`,
  )
  installed.write(
    'empty.mjs',
    `import { DeferQ, task } from 'deferq'
     export default new DeferQ({ tasks: [task('report', {})] })`,
  )
})
afterAll(() => installed.remove())

const schedule = (args: string[], env: Record<string, string> = {}): Promise<Ended> =>
  installed.run('deferq', ['schedule', ...args, '--bootstrap=worker.mjs'], { env })

test('list shows when, next and last', async () => {
  const { code, stdout } = await schedule(['list'])
  expect(code).toBe(0)
  const [head, daily, often, ...rest] = stdout.trimEnd().split('\n')
  expect(rest).toEqual([])
  expect(head).toMatch(/^KEY +WHEN +TASK +NEXT +LAST/)
  expect(daily).toMatch(/^daily +30 3 \* \* 1-5 Europe\/Berlin +report +\d{4}-\d\d-\d\dT0[12]:30:00Z +-/)
  expect(often).toMatch(/^often +every 1s +report +\d{4}-\S+Z +-/)
  const { stdout: json } = await schedule(['list', '--json'])
  expect(JSON.parse(json).schedules).toMatchObject([
    { key: 'daily', cron: '30 3 * * 1-5', timezone: 'Europe/Berlin', missed: 'one', paused: false },
    { key: 'often', everyMs: 1_000, nextAt: expect.stringMatching(/Z$/) },
  ])
})

test('pause, resume, run and remove by key', async () => {
  const json = async (...args: string[]) => JSON.parse((await schedule([...args, '--json'])).stdout)
  expect(await json('pause', 'daily')).toMatchObject({ key: 'daily', paused: true })
  expect((await schedule(['resume', 'daily'])).stdout).toMatch(/^resumed: daily, next \d{4}-/)
  expect(await json('run', 'daily')).toMatchObject({ name: 'report', status: 'pending', taskId: /^\w{88}$/ })
  expect(await json('remove', 'daily')).toEqual({ removed: true, key: 'daily' })
})

test('a pass makes the occurrences that are due, runs what is due, and says what came of it', async () => {
  const due = await schedule(['run', '--limit=1000'], { DUE: '1' })
  expect(due).toMatchObject({ code: 0, stdout: 'claimed 1, completed 1, failed 0\n' })
  const none = await schedule(['run'])
  expect(none).toMatchObject({ code: 0, stdout: 'claimed 0, completed 0, failed 0\n' })
  const limited = await schedule(['run', '--limit=3', '--concurrency=2', '--json'], { JOBS: '9' })
  expect(limited.code).toBe(0)
  expect(JSON.parse(limited.stdout)).toMatchObject({ claimed: 3, completed: 3, reason: 'maxJobs' })
  const failing = await schedule(['run'], { DUE: '1', YEAR: '0', JOBS: '2' })
  expect(failing).toMatchObject({ code: 1, stdout: 'claimed 3, completed 2, failed 1\n' })
})

test.each<[string[], number, RegExp]>([
  [['lst'], 2, /schedule has no action 'lst'. Did you mean list\?/],
  [['frobnicate'], 2, /There are list, pause, resume, run, remove/],
  [[], 2, /schedule needs <list\|pause\|resume\|run\|remove>/],
  [['pause'], 2, /Which schedule\? Write deferq schedule pause <key>/],
  [['list', 'daily'], 2, /takes no key \('daily'\)/],
  [['run', 'daily', '--limit=5'], 2, /--limit belongs to a pass over all that is due/],
  [['pause', 'daily', '--limit=5'], 2, /schedule pause has no use for --limit/],
  [['run', '--limit=0'], 2, /--limit/],
  [
    ['run', '--bootstrap=empty.mjs'],
    2,
    /none with a run function: name the file that has them, --bootstrap=worker.js/,
  ],
  [['pause', 'dayly'], 1, /TASK_NOT_FOUND: There is no schedule 'dayly' in this store. Did you mean daily\?/],
  [['remove', 'zzz'], 1, /There are daily, often./],
])('%j: exit code %i', async (args, code, said) => {
  const own = args.includes('--bootstrap=empty.mjs')
  const ended = own ? await installed.run('deferq', ['schedule', ...args]) : await schedule(args)
  expect(ended.stderr).toMatch(said)
  expect(ended).toMatchObject({ code, stdout: '' })
})
