// Dispatches one key many times at once, when a line on its standard input says so, and tells what the answers were.
import { once } from 'node:events'
import { DeferQ } from '../../src/index.ts'
import { where } from './where.ts'

const [url, times] = process.argv.slice(2) as [string, string]
const deferq = new DeferQ(await where(url))
await deferq.open()
console.log('ready')
await once(process.stdin, 'data')
const receipts = await Promise.all(
  // Each with a callback of its own in this process, so that none is merged with another before it is sent.
  Array.from({ length: Number(times) }, () =>
    deferq.dispatch('slow', { key: 'one', first: 50 }, { callback: [] }),
  ),
)
const outcomes: Record<string, number> = {}
for (const { outcome } of receipts) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
const result = await deferq.result((receipts[0] as { taskId: string }).taskId)
await deferq.close()
console.log(JSON.stringify({ ids: [...new Set(receipts.map(({ taskId }) => taskId))], outcomes, result }))
process.stdin.destroy()
