// deferq request: a pass over what is due, as cron would start it, and one request by its id.
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import { DeferQ, task } from '../../src/index.ts'
import { httpRequest } from '../../src/requests/index.ts'
import type { Receiver } from '../requests/receiver.ts'
import { receiver } from '../requests/receiver.ts'
import type { Ended } from './program.ts'
import { Installation } from './program.ts'

let installed: Installation
let store: string
let deferq: DeferQ
let count = 0

beforeAll(() => {
  installed = new Installation()
  installed.write(
    'sender.mjs',
    `import { DeferQ, task } from 'deferq'
     import { httpRequest } from 'deferq/requests'
     export default new DeferQ({ url: process.env.DEFERQ_URL, tasks: [
       httpRequest({ allow: ['127.0.0.1'] }), task('other', { run: () => 1 }),
     ] })`,
  )
  installed.write(
    'without.mjs',
    `import { DeferQ, task } from 'deferq'
     export default new DeferQ({ url: process.env.DEFERQ_URL, tasks: [task('other', { run: () => 1 })] })`,
  )
})
afterAll(() => installed.remove())
beforeEach(() => {
  store = `sqlite:${join(installed.folder, `store-${++count}.db`)}`
  const own = new DeferQ({ url: store, tasks: [httpRequest(), task('other', { run: () => 1 })] })
  onTestFinished(() => own.close())
  deferq = own as unknown as DeferQ
})

const request = (...args: string[]): Promise<Ended> =>
  installed.run('deferq', ['request', ...args], {
    env: { DEFERQ_URL: store, DEFERQ_BOOTSTRAP: 'sender.mjs' },
  })
const json = async (...args: string[]): Promise<Record<string, unknown> & { code: number }> => {
  const { code, stdout, stderr } = await request(...args, '--json')
  try {
    return { code, ...JSON.parse(stdout) }
  } catch {
    throw new Error(`No JSON: ${stdout}${stderr}`)
  }
}
const answering = (codes: number[]): Promise<Receiver> =>
  receiver((_got, response, _request, at) => response.writeHead(codes[at - 1] ?? 200).end())

test('a pass takes what is due, oldest first, up to its limit, and says what came of it', async () => {
  const { url, got } = await answering([200, 500, 410])
  for (let number = 1; number <= 5; number++) {
    await deferq.request({
      url: `${url}/${number}`,
      stopCodes: [410],
      runAt: Date.now() - 100_000 + number * 1_000,
    })
  }
  await deferq.request({ url: `${url}/late`, delay: '1h' })
  await deferq.dispatch('other', 1)
  expect(await json('--limit=3', '--concurrency=1')).toMatchObject({
    code: 0,
    reason: 'maxJobs',
    claimed: 3,
    completed: 1,
    failed: 1,
    retried: 1,
  })
  expect(got.map(({ path }) => path)).toEqual(['/1', '/2', '/3'])
  const second = await request()
  expect(second).toMatchObject({
    code: 0,
    stdout: 'claimed 2, completed 2, failed 0, cancelled 0, retried 0, lost 0\n',
  })
  expect(await json()).toMatchObject({ code: 0, reason: 'empty', claimed: 0 })
  expect(got.map(({ path }) => path).sort()).toEqual(['/1', '/2', '/3', '/4', '/5'])
  expect((await deferq.stats()).lanes.find(({ name }) => name === 'other')?.pending).toBe(1)
})

test('one that is due later is sent now, by its id, and once', async () => {
  const { url, got } = await answering([])
  const { taskId } = await deferq.request({ url, delay: '1h', json: { n: 1 } })
  await deferq.request({ url: `${url}/other`, delay: '1h' })
  expect(await json(taskId)).toMatchObject({ code: 0, status: 'completed', taskId, result: { status: 200 } })
  expect(await json(taskId)).toMatchObject({ code: 0, status: 'completed', taskId })
  expect(got.map(({ path }) => path)).toEqual(['/'])
  const { receipts } = await deferq.list({ status: 'completed' })
  expect(receipts).toHaveLength(1)
})

test('several at once send it once', async () => {
  const { url, got } = await answering([])
  const { taskId } = await deferq.request({ url, delay: '1h' })
  const all = await Promise.all([1, 2, 3, 4].map(() => json(taskId)))
  expect(all.some(({ status }) => status === 'completed')).toBe(true)
  expect(got).toHaveLength(1)
  const { receipts } = await deferq.list()
  expect(receipts.filter(({ name }) => name === 'http.request')).toHaveLength(1)
})

test('one that failed is sent in a new run; one that waits for its next attempt has it now', async () => {
  const { url, got } = await answering([410, 200, 500])
  const failed = await deferq.request({ url, stopCodes: [410] })
  expect(await json(failed.taskId)).toMatchObject({ code: 1, status: 'failed', taskId: failed.taskId })
  const again = await json(failed.taskId)
  expect(again).toMatchObject({ code: 0, status: 'completed' })
  expect(again.taskId).not.toBe(failed.taskId)
  const waiting = await deferq.request({ url: `${url}/waiting` })
  expect(await json(waiting.taskId)).toMatchObject({ code: 1, status: 'pending', attempt: 1 })
  const sent = await json(waiting.taskId)
  expect(sent).toMatchObject({ code: 0, status: 'completed', attempt: 2, taskId: waiting.taskId })
  expect(sent.history).toMatchObject([{ attempt: 1 }])
  expect(got).toHaveLength(4)
})

test('wrong usage: another task’s id, an unknown one, a bootstrap without httpRequest()', async () => {
  const other = await deferq.dispatch('other', 1)
  expect(await json(other.taskId)).toMatchObject({
    code: 2,
    error: { message: expect.stringMatching(/run of 'other'/) },
  })
  expect(await json('0'.repeat(88))).toMatchObject({ code: 1, error: { code: 'TASK_NOT_FOUND' } })
  expect(await json('12')).toMatchObject({ code: 1, error: { code: 'INVALID_ID' } })
  expect(await json(other.taskId, '--limit=3')).toMatchObject({ code: 2 })
  const env = { DEFERQ_URL: store }
  const without = await installed.run('deferq', ['request', '--bootstrap=without.mjs'], { env })
  expect(without.stderr).toMatch(/no httpRequest\(\) among its tasks/)
  expect(without.code).toBe(1)
  const { url, got } = await answering([])
  await deferq.request({ url })
  // By its URL alone it may go to the open internet, and nowhere else.
  const byUrl = await installed.run('deferq', ['request'], { env })
  expect(byUrl.stdout).toMatch(/^claimed 1, completed 0, failed 1/)
  expect(got).toHaveLength(0)
})
