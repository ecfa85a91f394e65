// A bridge and a worker in a process of their own, which dies at a certain call to the broker.
import { appendFileSync } from 'node:fs'
import { Bridge } from '../../src/bridge/index.ts'
import { DeferQ, NoRetryError, task, Worker } from '../../src/index.ts'
import { openTransport } from '../../src/transports/open.ts'
import { met } from './met.ts'

const [url, broker, queue, logFile, dieAt] = process.argv.slice(2) as [string, string, string, string, string]
const log = (...words: unknown[]): void => appendFileSync(logFile, `${words.join(' ')}\n`)

const silent = { debug() {}, info() {}, warn() {}, error() {} }
const deferq = new DeferQ({
  url,
  logger: silent,
  tasks: [
    task('urn:works', { run: ({ n }: { n: number }, { id }) => log('works', n, id) }),
    task('urn:fails', {
      run: ({ n }: { n: number }, { id }) => {
        log('fails', n, id)
        throw new NoRetryError('broken')
      },
    }),
    task('urn:kills', {
      backoff: 0,
      run: () => {
        log('kills')
        process.kill(process.pid, 'SIGKILL')
        return new Promise(() => {})
      },
    }),
  ],
})
const transport = met(await openTransport(broker)(), (verb) => {
  if (verb !== dieAt) return
  log('dies', verb)
  process.kill(process.pid, 'SIGKILL')
})
const bridge = new Bridge(deferq, { transport, queues: [queue], visibility: '3s', wait: 100 })
const worker = new Worker(deferq, { lease: '1s', sleep: 100 })
process.once('SIGTERM', async () => {
  const summary = await bridge.stop()
  await worker.stop()
  await transport.close()
  await deferq.close()
  console.log(JSON.stringify(summary))
})
await deferq.open()
console.log('ready')
await Promise.all([bridge.run(), worker.run()])
