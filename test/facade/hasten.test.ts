import { expect, onTestFinished, test } from 'vitest'
import { DeferQ, task, Worker } from '../../src/index.ts'

test('a debounced run and one between two attempts begin as soon as they are hastened', async () => {
  const begun: string[] = []
  const search = task('search', {
    debounce: { wait: '1h' },
    run: (query: string) => {
      begun.push(query)
      return query.length
    },
  })
  const flaky = task('flaky', {
    backoff: '1h',
    run: (_: null, { attempt }) => {
      begun.push(`flaky ${attempt}`)
      if (attempt === 1) throw new Error('not yet')
      return attempt
    },
  })
  const deferq = new DeferQ({ tasks: [search, flaky] })
  const worker = new Worker(deferq)
  void worker.run()
  onTestFinished(async () => {
    await worker.stop()
    await deferq.close()
  })

  const typed = await deferq.dispatch('search', 'deduplicate')
  expect(await deferq.hasten(typed.taskId)).toBe('due')
  expect(await deferq.result(typed.taskId)).toBe(11)
  expect(await deferq.hasten(typed.taskId)).toBe('ended')

  const { taskId } = await deferq.dispatch('flaky', null)
  await expect.poll(async () => (await deferq.getStatus(taskId)).attempt).toBe(1)
  await expect.poll(async () => (await deferq.getStatus(taskId)).status).toBe('pending')
  expect(await deferq.hasten(taskId, { priority: 9 })).toBe('due')
  expect(await deferq.result(taskId)).toBe(2)
  expect((await deferq.getStatus(taskId)).priority).toBe(9)
  expect(begun).toEqual(['deduplicate', 'flaky 1', 'flaky 2'])

  await expect(deferq.hasten('12')).rejects.toMatchObject({ code: 'INVALID_ID' })
  await expect(deferq.hasten(taskId, { priority: 1_000 })).rejects.toThrow(
    /hasten\(\): priority .* -100 to 100/,
  )
  expect(await deferq.hasten('0'.repeat(88))).toBe('unknown')
})
