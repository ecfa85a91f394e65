// The commands of deferq as real processes on SQLite: what they answer, as text and as JSON, and their exit codes.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { COMMANDS, EVERY_FLAG, GLOBAL_FLAGS } from '../../src/cli/command-table.ts'
import { paramsOf } from '../../src/cli/commands/dispatch.ts'
import { split } from '../../src/cli/flags.ts'
import { commandNamed, readCommand } from '../../src/cli/main.ts'
import type { Ended } from './program.ts'
import { Installation } from './program.ts'

let installed: Installation
let store: string

const NO_RUN = '0'.repeat(88)

beforeAll(() => {
  installed = new Installation()
  store = `sqlite:${join(installed.folder, 'store.db')}`
  installed.write(
    'worker.mjs',
    `import { DeferQ, task } from 'deferq'
     export default new DeferQ({ url: process.env.DEFERQ_URL, tasks: [
       task('report', { run: ({ year }) => ({ year, big: 12n, at: new Date(0) }) }),
       task('tenant', { scope: true, run: () => 'for one tenant' }),
       task('broken', { retries: 0, run: () => { throw new TypeError('the disk is full') } }),
     ] })`,
  )
})
afterAll(() => installed.remove())

const deferq = (
  args: string[],
  options: { input?: string; cwd?: string; env?: Record<string, string> } = {},
): Promise<Ended> => installed.run('deferq', args, { ...options, env: { DEFERQ_URL: store, ...options.env } })
const workOff = () =>
  installed.run('deferq-worker', ['--bootstrap=worker.mjs', '--stop-when-empty', '--quiet'], {
    env: { DEFERQ_URL: store },
  })

interface Answer {
  [field: string]: unknown
  taskId: string
  runs: { taskId: string }[]
}

/** The one document on stdout, and nothing else there. */
async function json(args: string[], code = 0): Promise<Answer> {
  const ended = await deferq([...args, '--json'])
  expect(ended.stdout.trim().split('\n'), ended.stderr).toHaveLength(1)
  const document = JSON.parse(ended.stdout)
  expect(ended.code, ended.stdout).toBe(code)
  return document
}

describe('the life of a task', () => {
  test('dispatch, status, result, list, stats, invalidate', async () => {
    const created = await json(['dispatch', 'report', '{"year":2024}', '--priority', '-5', '--queue=reports'])
    expect(created).toMatchObject({
      outcome: 'created',
      status: 'pending',
      priority: -5,
      queue: 'reports',
      name: 'report',
    })
    const id = created.taskId

    expect(await json(['dispatch', 'report', '{ "year": 2024 }'])).toMatchObject({
      outcome: 'joined',
      taskId: id,
    })
    expect(await json(['result', id], 1)).toMatchObject({
      error: { code: 'NOT_FINISHED', hint: `deferq result ${id} --wait` },
    })
    expect(await json(['result', id, '--wait=50ms'], 1)).toMatchObject({ error: { code: 'WAIT_TIMEOUT' } })
    expect((await json(['stats'])).lanes).toContainEqual({
      queue: 'reports',
      name: 'report',
      pending: 1,
      running: 0,
    })

    await workOff()
    expect(await json(['status', id])).toMatchObject({
      status: 'completed',
      result: { year: 2024, big: '12', at: '1970-01-01T00:00:00.000Z' },
    })
    const result = await deferq(['result', id])
    expect({ ...result, stdout: JSON.parse(result.stdout) }).toEqual({
      code: 0,
      stdout: { year: 2024, big: '12', at: '1970-01-01T00:00:00.000Z' },
      stderr: '',
    })
    expect(await json(['dispatch', 'report', '{"year":2024}'])).toMatchObject({ outcome: 'hit', taskId: id })
    const { runs, more } = await json(['list', '--queue=reports', '--status=completed', '--name=report'])
    expect({ ids: runs.map((run) => run.taskId), more }).toEqual({
      ids: [id],
      more: false,
    })
    expect(await json(['cancel', id], 1)).toEqual({ taskId: id, cancelled: false, answer: 'ended' })
    expect(await json(['retry', id], 1)).toMatchObject({ error: { code: 'NOT_FINISHED' } })

    expect(await json(['invalidate', 'report', '{"year":2024}'])).toEqual({ invalidated: 1 })
    expect(await json(['dispatch', 'report', '{"year":2024}'])).toMatchObject({ outcome: 'created' })
    expect(await json(['invalidate', id, '--scope=x'], 2)).toMatchObject({ error: { code: 'USAGE' } })
    expect(await json(['invalidate', 'report'])).toMatchObject({ invalidated: expect.any(Number) })
  })

  test('what waits for a later moment begins sooner', async () => {
    const { taskId } = await json(['dispatch', 'report', '{"year":2031}', '--delay=1h'])
    await workOff()
    expect(await json(['status', taskId])).toMatchObject({ status: 'pending', attempt: 0 })
    expect(await json(['hasten', taskId, '--priority=5'])).toMatchObject({ answer: 'due', priority: 5 })
    await workOff()
    expect(await json(['hasten', taskId, '--wait'], 1)).toMatchObject({
      answer: 'ended',
      status: 'completed',
    })
    expect(await json(['hasten', '0'.repeat(88)], 1)).toMatchObject({ error: { code: 'TASK_NOT_FOUND' } })
  })

  test('a failure, and its retry', async () => {
    const { taskId } = await json(['dispatch', 'broken', '--retries=0'])
    await workOff()
    const failed = await deferq(['result', taskId])
    expect(failed).toEqual({
      code: 1,
      stdout: '',
      stderr: `TASK_FAILED: The task 'broken' failed after 1 attempt: the disk is full\nhint: deferq retry ${taskId}\n`,
    })
    expect(await json(['status', taskId])).toMatchObject({
      status: 'failed',
      history: [{ attempt: 1, error: { name: 'TypeError' } }],
    })
    expect(await json(['status', taskId, '--watch'], 1)).toMatchObject({ status: 'failed' })
    const again = await json(['retry', taskId])
    expect(again).toMatchObject({ outcome: 'created', status: 'pending' })
    expect(await json(['cancel', again.taskId, '--reason=not today'])).toMatchObject({ cancelled: true })
    expect(await json(['result', again.taskId], 1)).toMatchObject({
      error: { code: 'TASK_CANCELLED', message: expect.stringContaining('not today') },
    })
  })

  test('dispatch --wait and status --watch wait for the end', async () => {
    const waiting = installed.start(
      'deferq',
      ['dispatch', 'report', '{"year":2030}', '--wait=14s', '--json'],
      { env: { DEFERQ_URL: store } },
    )
    const broken = await json(['dispatch', 'broken', '{"a":1}'])
    const watching = installed.start('deferq', ['status', broken.taskId, '--watch'], {
      env: { DEFERQ_URL: store },
    })
    const worker = installed.start('deferq-worker', ['--bootstrap=worker.mjs'], {
      env: { DEFERQ_URL: store },
    })
    const [dispatched, watched] = await Promise.all([waiting.ended, watching.ended])
    worker.kill('SIGTERM')
    expect(dispatched).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(dispatched.stdout)).toMatchObject({
      status: 'completed',
      outcome: 'created',
      result: { year: 2030 },
    })
    expect(watched).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/status +failed\n[\s\S]*error +TASK_FAILED/),
    })
    expect((await worker.ended).code).toBe(0)
  })

  test('people get tables, and no colours without a terminal', async () => {
    const dispatched = await deferq([
      'dispatch',
      'later',
      '--delay=1h',
      '--idempotency-key=k',
      '--callback=report',
    ])
    expect(dispatched.stdout).toMatch(
      /^task +later\nstatus +pending\noutcome +created: a new run\nid +[0-9a-f]{88}\n[\s\S]*due +\S+Z \(in 1h|59m/,
    )
    expect(dispatched.stderr).toMatch(/^hint: deferq result [0-9a-f]{88} --wait\n$/)
    const list = await deferq(['list', '--name=later'])
    expect(list.stdout).toMatch(
      /^STATUS +TASK +QUEUE +ATTEMPT +AGE +TOOK +ID\npending +later +default +0 +\S+ +- +[0-9a-f]{88}\n$/,
    )
    const stats = await deferq(['stats'])
    expect(stats.stdout).toMatch(/^QUEUE +TASK +PENDING +RUNNING\n[\s\S]*SINCE THE STORE BEGAN +COUNT\n/)
    expect(await deferq(['list', '--name=nobody'])).toMatchObject({
      code: 0,
      stdout: 'There is nothing here.\n',
    })
    expect(dispatched.stdout + list.stdout + stats.stdout).not.toContain('\u001b')
  })

  test('list has a limit, and says when there is more', async () => {
    for (const n of [1, 2, 3]) await deferq(['dispatch', 'many', `{"n":${n}}`, '--delay=1h'])
    const { runs, more } = await json(['list', '--name=many', '--limit=2'])
    expect({ count: runs.length, more }).toEqual({ count: 2, more: true })
    expect((await json(['list', '--name=many'])).runs).toHaveLength(3)
  })

  test('pause, resume and drain, by queue or by task', async () => {
    const held = await json(['dispatch', 'report', '{"year":1980}', '--queue=held'])
    expect(await json(['pause', '--queue=held'])).toEqual({ paused: true, queue: 'held' })
    expect((await json(['stats'])).paused).toEqual([{ queue: 'held' }])
    expect((await deferq(['stats'])).stdout).toContain('Paused: queue held')
    await workOff()
    expect(await json(['status', held.taskId])).toMatchObject({ status: 'pending' })
    expect((await deferq(['resume', '--queue=held'])).stdout).toBe('resumed: the queue held\n')
    await workOff()
    expect(await json(['status', held.taskId])).toMatchObject({ status: 'completed' })
    expect(await json(['drain', '--name=report', '--wait=5s'])).toEqual({ drained: true, name: 'report' })
    await json(['resume', '--name=report'])
    expect((await json(['stats'])).paused).toEqual([])
    for (const flags of [[], ['--queue=a', '--name=b']]) {
      const wrong = await deferq(['pause', ...flags])
      expect(wrong).toMatchObject({ code: 2 })
      expect(wrong.stderr).toContain('pause needs either --queue=<name> or --name=<name>')
    }
  })

  test('params from standard input', async () => {
    const { stdout } = await deferq(['dispatch', 'report', '-', '--delay=1h', '--json'], {
      input: '{"year": 1999}\n',
    })
    const { stdout: again } = await deferq(['dispatch', 'report', '{"year":1999}', '--json'])
    expect(JSON.parse(again)).toMatchObject({ outcome: 'joined', taskId: JSON.parse(stdout).taskId })
  })
})

describe('the store', () => {
  test('without a url it is a file below the current folder, which is made', async () => {
    const cwd = installed.empty()
    const { code } = await installed.run('deferq', ['dispatch', 'a'], { cwd })
    expect(code).toBe(0)
    expect(existsSync(join(cwd, '.deferq/deferq.db'))).toBe(true)
    expect((await installed.run('deferq', ['list'], { cwd })).stdout).toMatch(/^pending +a /m)
  })

  test('a bootstrap brings its tasks, schemas and scopes', async () => {
    const own = ['--bootstrap=worker.mjs']
    expect(await json([...own, 'dispatch', 'nope'], 1)).toMatchObject({ error: { code: 'UNKNOWN_TASK' } })
    expect(await json([...own, 'dispatch', 'tenant'], 1)).toMatchObject({
      error: { code: 'SCOPE_REQUIRED', hint: 'Say which one with --scope=…' },
    })
    expect(await json([...own, 'dispatch', 'tenant', '--scope=x', '--delay=1h'])).toMatchObject({
      outcome: 'created',
    })
    expect(await json([...own, 'invalidate', 'reprot'], 1)).toMatchObject({ error: { code: 'UNKNOWN_TASK' } })
    expect(await json(['--bootstrap=none.mjs', 'list'], 1)).toMatchObject({
      error: { code: 'INVALID_BOOTSTRAP' },
    })
    expect(await json([...own, '--url=memory:', 'list'], 2)).toMatchObject({ error: { code: 'USAGE' } })
  })

  test('memory is a store that nobody else sees, and that is said', async () => {
    const { code, stdout, stderr } = await deferq(['dispatch', 'a', '--url=memory:', '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ outcome: 'created' })
    expect(stderr).toMatch(/memory: lies in this process alone/)
    expect(code).toBe(0)
  })

  test('passwords are masked', async () => {
    const { code, stderr } = await deferq(['list', '--url=mysql://root:secret@h/db', '--verbose'])
    expect(stderr).toMatch(/^INVALID_URL: .*mysql:\/\/root:\*\*\*@h/)
    expect(stderr).toMatch(/^\s+at /m)
    expect(stderr).not.toContain('secret')
    expect(code).toBe(1)
  })
})

describe('mistakes', () => {
  test.each<[string, string[], RegExp, Record<string, string>?]>([
    ['a misspelt command', ['lst'], /There is no command 'lst'\. Did you mean list\?/],
    ['a misspelt flag', ['list', '--staus=x'], /deferq list has no flag --staus\. Did you mean --status\?/],
    ['another command’s flag', ['list', '--watch'], /no flag --watch; deferq status has it/],
    [
      'a missing argument',
      ['dispatch'],
      /dispatch needs <name>\. Usage: deferq dispatch <name> \[params-json\]/,
    ],
    ['a wrong state', ['list', '--status=done'], /--status is 'done': use pending, running/],
    ['split params', ['dispatch', 'a', '{year:', '2024}'], /one argument in single quotes/],
    ['a time apart', ['result', NO_RUN, '--wait', '5s'], /--wait=5s/],
    ['no moment', ['dispatch', 'a', '--run-at=tomorrow'], /--run-at is 'tomorrow', which is no moment/],
    ['an empty variable', ['list'], /DEFERQ_URL is empty.*unset DEFERQ_URL/, { DEFERQ_URL: '' }],
  ])('%s', (_, args, message, env = {}) => {
    const reading = () => {
      const parts = split(args, EVERY_FLAG)
      const [name = '', ...rest] = parts.positionals
      readCommand(commandNamed(name), parts, rest, env)
    }
    expect(reading).toThrow(message)
    expect(reading).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })

  test.each([
    ['{year:2024}', /The params \{year:2024\} can't be read as JSON.*double quotes/],
    ['hello', /Text needs quotes of its own/],
    ['{"year":', /Is it in single quotes/],
  ])('params %s', async (params, message) => {
    await expect(paramsOf(params)).rejects.toThrow(message)
  })

  test.each<[string, string[], number, RegExp]>([
    ['no command', [], 2, /^deferq asks for work/],
    ['a misspelt command', ['lst'], 2, /^USAGE: .*\nhint: deferq --help lists what can be given\.\n$/],
    ['two times', ['dispatch', 'a', '--delay=1s', '--run-at=2030-01-01T00:00:00Z'], 2, /give one of them/],
    ['a shortened id', ['status', 'abc123'], 1, /^INVALID_ID: [\s\S]*deferq list shows them/],
    ['an unknown id', ['status', NO_RUN], 1, /^TASK_NOT_FOUND: /],
    ['an unknown id to cancel', ['cancel', NO_RUN], 1, /^TASK_NOT_FOUND: /],
  ])('%s: the program ends', async (_, args, code, message) => {
    const ended = await deferq(args)
    expect(ended.stderr).toMatch(message)
    expect(ended.stderr).not.toMatch(/^\s+at /m)
    expect({ code: ended.code, stdout: ended.stdout }).toEqual({ code, stdout: '' })
  })

  test('with --json they are documents on stdout, usage errors too', async () => {
    expect(await json(['status', NO_RUN], 1)).toMatchObject({
      error: { code: 'TASK_NOT_FOUND', message: expect.any(String) },
    })
    expect(await json(['lst'], 2)).toMatchObject({ error: { code: 'USAGE' } })
    expect(await json(['list', '--staus'], 2)).not.toHaveProperty('error.stack')
    const { stdout, stderr } = await deferq(['status', 'x'], { env: { DEFERQ_JSON: '1' } })
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'INVALID_ID' } })
    expect(stderr).toBe('')
  })

  test('a reader that goes away is no error', async () => {
    const reading = installed.start('deferq', ['help'])
    reading.child.stdout?.destroy()
    expect(await reading.ended).toMatchObject({ code: 0, stderr: '' })
  })
})

describe('help', () => {
  test('lists every command and every common flag', async () => {
    const { code, stdout } = await deferq(['--help'])
    expect(code).toBe(0)
    for (const { name, about } of COMMANDS.values())
      expect(stdout).toMatch(new RegExp(`^  ${name} .*${about}`, 'm'))
    for (const flag of Object.keys(GLOBAL_FLAGS)) expect(stdout).toContain(`--${flag}`)
    expect(stdout).toContain('sqlite:./.deferq/deferq.db')
    expect(await deferq(['--version'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+/),
    })
  })

  test('of a command names each of its flags', async () => {
    const ended = await Promise.all(['dispatch', 'list'].map((name) => deferq([name, '--help'])))
    for (const [index, name] of ['dispatch', 'list'].entries()) {
      const flags = Object.keys({ ...COMMANDS.get(name)?.flags, ...GLOBAL_FLAGS })
      for (const flag of flags) expect(ended[index]?.stdout).toContain(`--${flag}`)
    }
    expect((await deferq(['help', 'demo'])).stdout).toMatch(/--port=number[\s\S]*--url/)
  })
})
