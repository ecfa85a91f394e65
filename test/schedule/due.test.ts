// What is due: a thousand tasks for later, worked off by four workers, each once and none too early.
import { expect } from 'vitest'
import { task } from '../../src/index.ts'
import { eventually, everywhere, working } from '../facade/places.ts'

everywhere(
  '1,000 due tasks claimed by 4 workers run once each, and what became of each stays visible',
  async (place) => {
    const ran: { n: number; early: number }[] = []
    const job = task('job', {
      run: ({ n, at }: { n: number; at: number }) => void ran.push({ n, early: at - Date.now() }),
    })
    const deferqs = Array.from({ length: 4 }, () => place.deferq({ tasks: [job] }))
    const [first] = deferqs as [(typeof deferqs)[0]]
    for (const deferq of deferqs) working(deferq, { concurrency: 25 })
    const at = Date.now() + 1_500
    const receipts = await first.dispatchMany(
      Array.from({ length: 1_000 }, (_, n) => ({
        name: 'job' as const,
        params: { n, at },
        options: { runAt: new Date(at) },
      })),
    )
    await eventually('all have run', () => ran.length >= 1_000, 30_000)
    expect(ran).toHaveLength(1_000)
    expect(new Set(ran.map(({ n }) => n)).size).toBe(1_000)
    expect(Math.max(...ran.map(({ early }) => early)), 'none before its time').toBeLessThanOrEqual(50)
    const { taskId } = receipts[500] as (typeof receipts)[0]
    await eventually('its end is kept', async () => (await first.getStatus(taskId)).status === 'completed')
    const receipt = await first.getStatus(taskId)
    expect(receipt).toMatchObject({ status: 'completed', attempt: 1, history: [] })
    const moments = [receipt.createdAt, receipt.dueAt, receipt.startedAt, receipt.finishedAt].map(
      (each) => each?.getTime() ?? 0,
    )
    expect(moments).toEqual([...moments].sort((a, b) => a - b))
  },
)
