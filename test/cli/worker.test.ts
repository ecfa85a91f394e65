// deferq-worker as a real process: its flags and their twins, its limits, its signals, its log and its exit code.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readWorkerFlags } from '../../src/cli/worker.ts'
import { WORKER_FLAGS, workerOptions } from '../../src/cli/worker-flags.ts'
import { Installation } from './program.ts'

let installed: Installation

// The memory store with work in it from the start: SEED is a list of [name, params].
const WORKER = `
  import { existsSync } from 'node:fs'
  import { DeferQ, task } from 'deferq'
  export const deferq = new DeferQ({ tasks: [
    task('add', { run: ({ a, b }) => a + b }),
    task('gated', { run: async ({ gate }) => {
      while (!existsSync(gate)) await new Promise((resolve) => setTimeout(resolve, 5))
      return 'through'
    } }),
    task('obedient', { run: (_, { signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))) }),
    task('deaf', { run: () => new Promise(() => setInterval(() => {}, 1000)) }),
    task('broken', { retries: 0, run: () => { throw new TypeError('the disk\\nis full: redis://u:secret@h') } }),
  ] })
  for (const [name, params = {}, options] of JSON.parse(process.env.SEED ?? '[]')) await deferq.dispatch(name, params, options)
  export default deferq
`
const adds = (count: number): string =>
  JSON.stringify(Array.from({ length: count }, (_, b) => ['add', { a: 1, b }]))

beforeAll(() => {
  installed = new Installation()
  installed.write('worker.mjs', WORKER)
  installed.write(
    'echo.mjs',
    `import { Worker } from 'deferq'
     import { deferq } from './worker.mjs'
     export default async ({ logger, ...options }) => {
       console.log(JSON.stringify(options))
       return new Worker(deferq, { ...options, logger, stopWhenEmpty: true })
     }`,
  )
  installed.write(
    'finished.mjs',
    `import { Worker } from 'deferq'
     import { deferq } from './worker.mjs'
     export default new Worker(deferq, { stopWhenEmpty: true })`,
  )
})
afterAll(() => installed.remove())

const run = (args: string[], env: Record<string, string> = {}) =>
  installed.run('deferq-worker', args, { env })
const work = (args: string[], env: Record<string, string> = {}) =>
  run(['--bootstrap=worker.mjs', ...args], env)

describe('limits', () => {
  test('--stop-when-empty runs all there is, and ends', async () => {
    const { code, stderr, stdout } = await work(['--stop-when-empty'], { SEED: adds(3) })
    expect(stderr).toMatch(/nothing more to do reason=empty claimed=3 completed=3/)
    expect(stderr.match(/'add' completed took=/g)).toHaveLength(3)
    expect(stderr).not.toContain('\u001b')
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
  })

  test('--once runs one task, and none when there is none', async () => {
    const [one, none] = await Promise.all([work(['--once'], { SEED: adds(3) }), work(['--once'])])
    expect(one).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/reason=maxJobs claimed=1 completed=1/),
    })
    expect(none).toMatchObject({ code: 0, stderr: expect.stringMatching(/reason=empty claimed=0/) })
  })

  test('--max-jobs and --max-runtime', async () => {
    const [jobs, runtime] = await Promise.all([
      work(['--max-jobs', '2'], { SEED: adds(5) }),
      work(['--max-runtime=50ms', '--grace=0'], { SEED: '[["obedient"]]' }),
    ])
    expect(jobs).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/reason=maxJobs claimed=2 completed=2/),
    })
    expect(runtime).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/reason=maxRuntime claimed=1 completed=0.*released=1/),
    })
  })

  test('--max-memory', async () => {
    const { code, stderr } = await work(['--max-memory=1', '--concurrency=1'], { SEED: adds(2_000) })
    expect(stderr).toContain('reason=maxMemory')
    expect(code).toBe(0)
  })

  test('--queues and --names choose the work', async () => {
    const SEED = JSON.stringify([
      ['add', { a: 1, b: 1 }, { queue: 'x' }],
      ['add', { a: 2, b: 1 }, { queue: 'y' }],
      ['broken', {}, { queue: 'x' }],
    ])
    const { stderr } = await work(['--queues=x', '--names=add', '--stop-when-empty'], { SEED })
    expect(stderr).toContain('claimed=1 completed=1')
  })

  test('--timeout ends an attempt', async () => {
    const { stderr } = await work(['--timeout=30', '--max-jobs=1'], { SEED: '[["obedient"]]' })
    expect(stderr).toMatch(
      /TASK_TIMEOUT.*\n?.*reason=maxJobs claimed=1 completed=0 failed=0 cancelled=0 retried=1/,
    )
  })
})

describe('signals', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s lets the current task finish', async (signal) => {
    const gate = join(installed.empty(), 'open')
    const worker = installed.start('deferq-worker', ['--bootstrap=worker.mjs'], {
      env: { SEED: JSON.stringify([['gated', { gate }]]) },
    })
    await worker.until("'gated' started")
    worker.kill(signal)
    await worker.until('stopping: no new work')
    writeFileSync(gate, '')
    const { code, stderr } = await worker.ended
    expect(stderr).toMatch(/reason=stopped claimed=1 completed=1/)
    expect(code).toBe(0)
  })

  test('the grace time is the longest that it waits, and a handler that ignores its signal holds nothing up', async () => {
    const worker = installed.start('deferq-worker', ['--bootstrap=worker.mjs', '--grace=20ms'], {
      env: { SEED: '[["deaf"]]' },
    })
    await worker.until("'deaf' started")
    worker.kill('SIGTERM')
    const { code, stderr } = await worker.ended
    expect(stderr).toMatch(/reason=stopped claimed=1 completed=0 failed=0 cancelled=0 retried=0 released=1/)
    expect(code).toBe(0)
  })

  test('a second signal aborts', async () => {
    const worker = installed.start('deferq-worker', ['--bootstrap=worker.mjs'], {
      env: { SEED: '[["obedient"],["deaf"]]' },
    })
    await worker.until("'deaf' started")
    worker.kill('SIGTERM')
    await worker.until('stopping: no new work')
    worker.kill('SIGTERM')
    const { code, stderr } = await worker.ended
    expect(stderr).toMatch(
      /aborting: [\s\S]*reason=aborted claimed=2 completed=0 failed=0 cancelled=0 retried=0 released=2/,
    )
    expect(code).toBe(0)
  })

  test('a signal while the store is away ends it too', async () => {
    installed.write(
      'away.mjs',
      `import { DeferQ, task } from 'deferq'
       export default new DeferQ({ url: 'sqlite:./package.json/x.db', tasks: [task('a', { run: () => 1 })] })`,
    )
    const worker = installed.start('deferq-worker', ['--bootstrap=away.mjs'])
    await worker.until('the store is away; it is tried again: STORE_UNAVAILABLE')
    worker.kill('SIGTERM')
    expect(await worker.ended).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('reason=stopped claimed=0'),
    })
  })
})

describe('the log', () => {
  test('--json makes each line a document, and errors keep their stack', async () => {
    const { stderr } = await work(['--json', '--stop-when-empty'], { SEED: '[["broken"]]' })
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    for (const line of lines)
      expect(line).toMatchObject({
        time: expect.stringMatching(/Z$/),
        level: expect.any(String),
        message: expect.any(String),
      })
    expect(lines.find(({ level }) => level === 'error')).toMatchObject({
      message: "'broken' failed for good at attempt 1",
      error: { name: 'TypeError', stack: expect.stringContaining('worker.mjs') },
    })
    expect(lines.at(-1)).toMatchObject({ reason: 'empty', claimed: 1, failed: 1 })
    expect(stderr).not.toContain('secret')
  })

  test('people get a line with its fields, and no secrets', async () => {
    const { stderr } = await work(['--stop-when-empty'], { SEED: '[["broken"]]' })
    expect(stderr).toMatch(
      /^\d{4}-\S+Z error 'broken' failed for good at attempt 1 .*taskId=[0-9a-f]{88}\n {4}TypeError: the disk/m,
    )
    expect(stderr).not.toContain('secret')
  })

  test('--quiet leaves warnings and errors', async () => {
    const { stderr } = await work(['--quiet', '--stop-when-empty'], {
      SEED: '[["broken"],["add",{"a":1,"b":1}]]',
    })
    expect(stderr).toContain("'broken' failed")
    expect(stderr).not.toMatch(/ info |completed/)
  })

  test('DEBUG=deferq says more', async () => {
    const { stderr } = await work(['--stop-when-empty'], { DEBUG: 'deferq' })
    expect(stderr).toMatch(/ debug Everything lies in this process/)
  })
})

describe('options', () => {
  test('a function receives them, with the default memory limit', async () => {
    const { stdout, code } = await run([
      '--bootstrap=echo.mjs',
      '--concurrency=3',
      '--sleep=2s',
      '--lease',
      '60000',
      '--queues=a,b',
      '--queues=c',
    ])
    expect(JSON.parse(stdout)).toEqual({
      concurrency: 3,
      sleep: 2_000,
      lease: 60_000,
      queues: ['a', 'b', 'c'],
      maxMemory: 128,
    })
    expect(code).toBe(0)
  })

  test('every one has a twin in the environment, and a flag wins over it', async () => {
    const { stdout, code } = await run(['--concurrency=4'], {
      DEFERQ_BOOTSTRAP: 'echo.mjs',
      DEFERQ_CONCURRENCY: '9',
      DEFERQ_QUEUES: 'q',
      DEFERQ_NAMES: 'add',
      DEFERQ_SLEEP: '1s',
      DEFERQ_MAX_JOBS: '7',
      DEFERQ_MAX_MEMORY: '64.5',
      DEFERQ_MAX_RUNTIME: '1m',
      DEFERQ_TIMEOUT: '2s',
      DEFERQ_LEASE: '5s',
      DEFERQ_GRACE: '100',
      DEFERQ_STOP_WHEN_EMPTY: 'true',
      DEFERQ_ONCE: 'false',
      DEFERQ_QUIET: '1',
      DEFERQ_JSON: '0',
    })
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toEqual({
      concurrency: 4,
      queues: ['q'],
      names: ['add'],
      sleep: 1_000,
      maxJobs: 7,
      maxMemory: 64.5,
      maxRuntime: 60_000,
      taskTimeout: 2_000,
      lease: 5_000,
      grace: 100,
      stopWhenEmpty: true,
    })
  })

  test('a finished worker can not take them, and that is said', async () => {
    const { stderr, code } = await run(['--bootstrap=finished.mjs', '--concurrency=2'], {
      DEFERQ_SLEEP: '1s',
    })
    expect(stderr).toMatch(
      / warn {2}--concurrency, DEFERQ_SLEEP have no effect: finished\.mjs exports a finished Worker/,
    )
    expect(code).toBe(0)
    expect((await run(['--bootstrap=finished.mjs', '--quiet'])).stderr).not.toContain('no effect')
  })

  test('a function that takes none can not heed them either', async () => {
    for (const [name, head, told] of [
      ['deaf', '()', true],
      ['deaf-async', 'async function make ( )', true],
      ['hears', '(options = {})', false],
      ['hears-all', 'function (...all)', false],
    ] as const) {
      const make = head.includes('function') ? `${head} {` : `${head} => {`
      installed.write(
        `${name}.mjs`,
        `import { DeferQ, Worker, task } from 'deferq'
        const deferq = new DeferQ({ tasks: [task('t', { run() {} })] })
        export default (${make} return new Worker(deferq, { stopWhenEmpty: true }) })`,
      )
      const { stderr, code } = await run([`--bootstrap=${name}.mjs`, '--concurrency=2'])
      expect(code).toBe(0)
      if (told)
        expect(stderr).toContain(
          `--concurrency has no effect: ${name}.mjs exports a function that takes no options.`,
        )
      else expect(stderr).not.toContain('no effect')
    }
  })
})

describe('usage', () => {
  test.each<[string, string[], Record<string, string>, RegExp]>([
    ['no bootstrap', [], {}, /--bootstrap=worker\.ts/],
    ['a bare file', ['worker.ts'], {}, /Did you mean --bootstrap=worker\.ts\?/],
    ['a misspelt flag', ['--bootsrap=x'], {}, /no flag --bootsrap\. Did you mean --bootstrap\?/],
    ['camel case', ['--maxJobs=1'], {}, /Did you mean --max-jobs\?/],
    ['one dash', ['-bootstrap=x'], {}, /no flag -bootstrap\. Did you mean --bootstrap\?/],
    ['--url', ['--url=redis://h'], {}, /the bootstrap file says where the store is/],
    ['no value', ['--sleep', '--quiet'], {}, /--sleep needs a value/],
    ['an empty value', ['--sleep='], {}, /--sleep= is empty/],
    ['no number', ['--concurrency=many'], {}, /--concurrency is 'many': use a whole number from 1 to 1000/],
    ['too small', ['--concurrency=0'], {}, /--concurrency is '0'/],
    ['a broken number', ['--max-jobs=1.5'], {}, /--max-jobs is '1\.5': use a whole number, 0 or more/],
    ['no duration', ['--sleep=2x'], {}, /--sleep is '2x', which is no duration/],
    ['a short lease', ['--bootstrap=worker.mjs', '--lease=10'], {}, /--lease is 10 ms: use 100 or more/],
    ['no time at all', ['--bootstrap=worker.mjs', '--timeout=0'], {}, /--timeout is 0/],
    ['an empty entry', ['--queues=a,,b'], {}, /--queues is 'a,,b', with an empty entry/],
    ['no truth', ['--once=perhaps'], {}, /--once is 'perhaps': use true or false/],
    [
      'an empty variable',
      [],
      { DEFERQ_CONCURRENCY: '' },
      /variable DEFERQ_CONCURRENCY is empty.*unset DEFERQ_CONCURRENCY/,
    ],
    ['a wrong variable', [], { DEFERQ_LEASE: 'long' }, /DEFERQ_LEASE is 'long'/],
  ])('%s', (_, args, env, message) => {
    const logger = { debug() {}, info() {}, warn() {}, error() {} }
    const reading = () => workerOptions(readWorkerFlags(args, env), logger)
    expect(reading).toThrow(message)
    expect(reading).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })

  test.each<[string, string[], Record<string, string>, RegExp]>([
    [
      'a misspelt flag',
      ['--bootsrap=x'],
      {},
      /^USAGE: .*\nhint: deferq-worker --help lists what can be given\.\n$/,
    ],
    [
      'an empty variable',
      ['--bootstrap=worker.mjs'],
      { DEFERQ_NAMES: '' },
      /^USAGE: .*DEFERQ_NAMES is empty/,
    ],
    ['a strange name', ['--bootstrap=worker.mjs', '--names=ad'], {}, /--names has 'ad'.* Known: add, gated/],
  ])('%s ends the program with 2', async (_, args, env, message) => {
    const { code, stdout, stderr } = await run(args, env)
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/^\s+at /m)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  })

  test('a variable that is nearly one of ours is told', async () => {
    expect((await work(['--once'], { DEFERQ_CONCURENCY: '3' })).stderr).toContain(
      'did you mean DEFERQ_CONCURRENCY?',
    )
  })

  test('--help names every flag and variable, whatever else is wrong; --version is the version', async () => {
    const { code, stdout } = await run(['--nonsense', '--help'])
    expect(code).toBe(0)
    for (const flag of Object.keys(WORKER_FLAGS)) {
      expect(stdout).toContain(`--${flag}`)
      if (flag !== 'help' && flag !== 'version')
        expect(stdout).toContain(`[DEFERQ_${flag.toUpperCase().replaceAll('-', '_')}]`)
    }
    expect(await run(['-v'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\S*\n$/),
    })
  })
})
