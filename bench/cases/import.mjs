// How long the import of each package takes in a process of its own.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { DIST } from '../contenders.mjs'

export const title = 'import: cold, in a fresh process'
export const unit = 'ms'
export const size = { full: 5, quick: 2 }
export const rounds = { full: 7, quick: 1 }
export const engines = ['redis']

const run = promisify(execFile)

const importing =
  (...modules) =>
  () => ({
    async call() {
      const program = `const began = performance.now()
      ${modules.map((module) => `await import(${JSON.stringify(module)})`).join('\n')}
      console.log(performance.now() - began)`
      const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], {
        cwd: import.meta.dirname,
      })
      return Number(stdout)
    },
    close: () => {},
  })

const deferq = (path) => new URL(path, DIST).href

/** What the measuring itself costs says nothing about them. */
export const cpu = false

export const contenders = {
  deferq: importing(deferq('src/index.js')),
  'deferq with its Redis engine': importing(
    deferq('src/index.js'),
    deferq('src/engines/redis/index.js'),
    'ioredis',
  ),
  bullmq: importing('bullmq'),
  'bee-queue': importing('bee-queue'),
  'floor: ioredis': importing('ioredis'),
}

export async function measure({ call }, count) {
  const took = []
  for (let index = 0; index < count; index++) took.push(await call())
  return took.sort((a, b) => a - b)[Math.floor(count / 2)]
}
