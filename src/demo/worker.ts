// The worker process of the demo: runs reports until its parent ends it, or is gone.
import { rm } from 'node:fs/promises'
import { Worker } from '../index.ts'
import { openDemo } from './report.ts'

const [, , folder] = process.argv
if (folder === undefined || process.send === undefined) {
  console.error('This is the worker of the demo, which starts it: run `deferq demo`.')
  process.exit(2)
}

const deferq = openDemo(folder)
// A short lease, so that whoever kills this process sees another one take over within seconds.
const worker = new Worker(deferq, { concurrency: 4, lease: '3s' })
let ending: Promise<void> | undefined

// Ctrl-C reaches the whole group of processes: the parent decides when this one goes.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => void end())
process.on('disconnect', () => void end('orphaned'))
if (!process.connected) void end('orphaned')

try {
  await deferq.open()
  process.send('ready')
  await worker.run()
} catch (error) {
  if (ending === undefined) {
    console.error(`The worker: ${error instanceof Error ? error.message : String(error)}`)
    process.exit(1)
  }
}

function end(why?: 'orphaned'): Promise<void> {
  ending ??= (async () => {
    try {
      await worker.abort()
      await deferq.close()
      // Nobody else is left who could clean up.
      if (why === 'orphaned') await rm(folder as string, { recursive: true, force: true, maxRetries: 5 })
    } finally {
      process.exit(0)
    }
  })()
  return ending
}
