// Bootstrap files: every form that works, TypeScript and CommonJS too, and every mistake with what is said about it.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Installation } from './program.ts'

let installed: Installation

beforeAll(() => {
  installed = new Installation()
})
afterAll(() => installed.remove())

const once = (file: string, options = {}) =>
  installed.run('deferq-worker', [`--bootstrap=${file}`, '--once'], options)

const TASK = `task('a', { run: async () => 1 })`
const TYPED = `
  import { DeferQ, Worker, task, type WorkerOptions } from 'deferq'
  interface Params { readonly n: number }
  const deferq = new DeferQ({ tasks: [task('a', { run: async ({ n }: Params): Promise<number> => n + 1 })] })
  void deferq.dispatch('a', { n: 1 })
  export default (options: WorkerOptions): Worker => new Worker(deferq, options)
`

describe('what works', () => {
  test.each([
    [
      'deferq.mjs',
      `import { DeferQ, task } from 'deferq'\nconst d = new DeferQ({ tasks: [${TASK}] })\nawait d.dispatch('a', {})\nexport default d`,
    ],
    [
      'promise.js',
      `import { DeferQ, task } from 'deferq'\nconst d = new DeferQ({ tasks: [${TASK}] })\nexport default d.dispatch('a', {}).then(() => d)`,
    ],
    [
      'function.mjs',
      `import { DeferQ, task } from 'deferq'\nexport default async () => { const d = new DeferQ({ tasks: [${TASK}] }); await d.dispatch('a', {}); return d }`,
    ],
    [
      'common.cjs',
      `const { DeferQ, task } = require('deferq')\nconst d = new DeferQ({ tasks: [${TASK}] })\nvoid d.dispatch('a', {})\nmodule.exports = d`,
    ],
    [
      'compiled.cjs',
      `Object.defineProperty(exports, '__esModule', { value: true })\nconst { DeferQ, task } = require('deferq')\nconst d = new DeferQ({ tasks: [${TASK}] })\nvoid d.dispatch('a', {})\nexports.default = d`,
    ],
    ['typed.ts', TYPED],
    ['typed.mts', TYPED],
  ])('%s', async (name, text) => {
    installed.write(name, text)
    const { code, stderr } = await once(name)
    expect(stderr).toContain('claimed=1 completed=1')
    expect(code).toBe(0)
  })

  test('TypeScript in a package that does not say what it is', async () => {
    installed.write('plain/package.json', '{}')
    installed.write('plain/worker.ts', TYPED)
    expect(await once('plain/worker.ts')).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('completed=1'),
    })
  })

  test.each(['new Worker(d)', 'd'])('another copy of the package: %s', async (exported) => {
    installed.write(
      'other.mjs',
      `import { DeferQ, Worker, task } from '../lone/dist/src/index.js'
       const d = new DeferQ({ tasks: [${TASK}] })
       await d.dispatch('a', {})
       export default ${exported}`,
    )
    const worker = installed.start('deferq-worker', ['--bootstrap=other.mjs'])
    await worker.until("'a' completed")
    worker.kill('SIGTERM')
    expect(await worker.ended).toMatchObject({ code: 0, stderr: expect.stringContaining('completed=1') })
  })
})

describe('mistakes', () => {
  test.each<[string, string, RegExp]>([
    ['syntax.mjs', 'export default (\n  new DeferQ({ )', /it has a syntax error: [\s\S]*syntax\.mjs:2\n/],
    [
      'syntax-within.mjs',
      `import './syntax.mjs'`,
      /it has a syntax error: [\s\S]*in a file that syntax-within\.mjs imports/,
    ],
    ['syntax.ts', 'export default (\n  const x: = 1)', /it has a syntax error: [\s\S]*syntax\.ts:2/],
    [
      'throws.mjs',
      `throw new TypeError('no configuration')`,
      /could not be loaded: no configuration\n\s+TypeError[\s\S]*throws\.mjs:1/,
    ],
    [
      'import.mjs',
      `import x from 'not-installed'`,
      /Cannot find package 'not-installed'[\s\S]*Is the package installed/,
    ],
    [
      'named-import.mjs',
      `import { Defer } from 'deferq'`,
      /does not provide an export named 'Defer'[\s\S]*named-import\.mjs:1/,
    ],
    ['nothing.mjs', '', /it exports nothing\. Its default export must be/],
    ['named.mjs', 'export const worker = 1', /it exports worker, and no default\./],
    ['undefined.mjs', 'export default () => {}', /its function returned undefined \(is a return missing\?\)/],
    [
      'rejects.mjs',
      `export default async () => { throw new Error('boo') }`,
      /its function threw: boo\n\s+Error: boo\n.*rejects\.mjs:1/,
    ],
    [
      'class.mjs',
      `import { Worker } from 'deferq'\nexport default Worker`,
      /it exports the class Worker itself/,
    ],
    [
      'task.mjs',
      `import { task } from 'deferq'\nexport default ${TASK}`,
      /is the task 'a': give it to new DeferQ/,
    ],
    [
      'tasks.mjs',
      `import { task } from 'deferq'\nexport default [${TASK}]`,
      /is a list of tasks: give it to new DeferQ/,
    ],
    [
      'object.mjs',
      `import { DeferQ } from 'deferq'\nexport default { deferq: new DeferQ() }`,
      /an object with deferq: export one of them/,
    ],
    ['number.mjs', 'export default 1', /its default export is a number/],
    [
      'other-worker.mjs',
      `import { Worker } from 'node:worker_threads'\nexport default new Worker('', { eval: true })`,
      /is an instance of Worker/,
    ],
    [
      'no-tasks.mjs',
      `import { DeferQ } from 'deferq'\nexport default new DeferQ()`,
      /its DeferQ has no tasks, so there is nothing to run/,
    ],
    [
      'no-handlers.mjs',
      `import { DeferQ, task } from 'deferq'\nexport default new DeferQ({ tasks: [task('a', {})] })`,
      /has no task with a run function/,
    ],
    ['never.mjs', 'await new Promise(() => {})', /never finished loading: an await in it never settles/],
    [
      'url.mjs',
      `import { DeferQ } from 'deferq'\nexport default new DeferQ({ url: 'mysql://u:secret@h' })`,
      /'mysql:\/\/u:\*\*\*@h' names no engine/,
    ],
  ])('%s', async (name, text, message) => {
    installed.write(name, text)
    const { code, stdout, stderr } = await once(name)
    expect(stderr).toMatch(message)
    expect(stderr).toMatch(/INVALID_BOOTSTRAP: The bootstrap file \S+ /)
    expect(stderr).toContain(name)
    expect(stderr).not.toContain('secret')
    expect(stderr).not.toContain('node:internal')
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  })

  test('a file that is not there, and a folder', async () => {
    expect(await once('nowhere.ts')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/INVALID_BOOTSTRAP: .*no such file \(looked for .*nowhere\.ts\)/),
    })
    expect(await once('.')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/INVALID_BOOTSTRAP: .*that is no file/),
    })
  })

  test('a module in a CommonJS package is told how to say so', async () => {
    installed.write('common/package.json', '{ "type": "commonjs" }')
    installed.write('common/worker.js', `import { DeferQ } from 'deferq'\nexport default new DeferQ()`)
    const { stderr } = await once('common/worker.js')
    expect(stderr).toMatch(/INVALID_BOOTSTRAP: [\s\S]*write "type": "module" into the package\.json/)
  })

  test.skipIf((process.features as { typescript?: unknown }).typescript)(
    'TypeScript without tsx (only where Node reads none by itself)',
    async () => {
      const { code, stderr } = await once('../lone/worker.ts', { from: 'lone', cwd: installed.lone })
      expect(stderr).toContain('no such file')
      installed.write('../lone/worker.ts', TYPED)
      const missing = await once('worker.ts', { from: 'lone', cwd: installed.lone })
      expect(missing.stderr).toMatch(
        /MISSING_DEPENDENCY: worker\.ts is TypeScript.*`npm install tsx`.*Node 22\.18.*\.js bootstrap/,
      )
      expect([code, missing.code]).toEqual([1, 1])
    },
  )

  test('with --json it is a document too', async () => {
    const { stderr, code } = await installed.run('deferq-worker', ['--bootstrap=throws.mjs', '--json'])
    expect(JSON.parse(stderr)).toMatchObject({
      level: 'error',
      error: {
        code: 'INVALID_BOOTSTRAP',
        details: { found: expect.any(String), expected: expect.any(String) },
        cause: { message: 'no configuration' },
      },
    })
    expect(code).toBe(1)
  })
})
