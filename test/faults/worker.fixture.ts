// A worker in a process of its own: it writes down what it runs, and ends in order on SIGTERM, telling what it has done.
import { appendFileSync } from 'node:fs'
import { DeferQ, task, Worker } from '../../src/index.ts'
import { where } from './where.ts'

const [url, logFile, options] = process.argv.slice(2) as [string, string, string]
const { dieAfter, ...rest } = JSON.parse(options)
const log = (...words: unknown[]): void => appendFileSync(logFile, `${words.join(' ')}\n`)

/** Takes `first` milliseconds in its first attempt, `then` in later ones. */
const slow = task('slow', {
  resultTtl: '1h',
  run: async ({ key, first = 0, then = 0 }: { key: string; first?: number; then?: number }, { attempt }) => {
    log('start', key, attempt, process.pid)
    await new Promise((resolve) => setTimeout(resolve, attempt === 1 ? first : then))
    log('end', key, attempt, process.pid)
    return { attempt, pid: process.pid }
  },
})
const after = task('after', { run: (_: unknown, { parent }) => log('after', parent?.status, parent?.id) })

const silent = { debug() {}, info() {}, warn() {}, error() {} }
const deferq = new DeferQ({ ...(await where(url)), tasks: [slow, after], logger: silent })
const worker = new Worker(deferq, rest)
// The first to hear of it: nothing of what would follow in this process comes to pass.
worker.on('completed', ({ name }) => {
  if (name === dieAfter) process.kill(process.pid, 'SIGKILL')
})
process.once('SIGTERM', () => void worker.stop())
await deferq.open()
console.log('ready')
const summary = await worker.run()
await deferq.close()
console.log(JSON.stringify(summary))
