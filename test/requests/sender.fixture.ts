// A worker in a process of its own that sends requests, until it is told to end or killed.
import { DeferQ, Worker } from '../../src/index.ts'
import { httpRequest } from '../../src/requests/index.ts'

const [url, options] = process.argv.slice(2) as [string, string]
const silent = { debug() {}, info() {}, warn() {}, error() {} }
const deferq = new DeferQ({ url, tasks: [httpRequest({ allow: ['127.0.0.1'] })], logger: silent })
const worker = new Worker(deferq, JSON.parse(options))
process.once('SIGTERM', () => void worker.stop())
await deferq.open()
console.log('ready')
const summary = await worker.run()
await deferq.close()
console.log(JSON.stringify(summary))
