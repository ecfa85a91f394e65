// A script that uses everything that waits, closes deferq, and has to end by itself.
import { DeferQ, task, Worker } from '../../src/index.ts'

const deferq = new DeferQ({
  url: process.argv[2] as string,
  tasks: [task('x', { run: () => 'done' }), task('never', { run: () => new Promise(() => {}) })],
})
const worker = new Worker(deferq, { names: ['x'] })
const ran = worker.run()
const code = (error: { code: string }): string => error.code

const said = [await deferq.run('x', {}, { callback: () => {} })]
const { taskId } = await deferq.dispatch('never', {}, { callback: () => {} })
said.push(await deferq.result(taskId, { timeout: 20 }).then(String, code))
said.push(await deferq.result(taskId, { timeout: '1h', signal: AbortSignal.timeout(20) }).then(String, code))
const waiting = deferq.result(taskId, { timeout: '1h' }).then(String, code)
await worker.stop()
await deferq.close()
said.push(await waiting, (await ran).reason)
console.log(said.join(' '))
