// Callbacks by URL: signed, durable and listed; told of success, failure and cancellation, once the run has ended.
import { Keyv } from 'keyv'
import { Webhook } from 'standardwebhooks'
import { expect, onTestFinished, test } from 'vitest'
import { DeferQ, task } from '../../src/index.ts'
import { httpRequest } from '../../src/requests/index.ts'
import { eventually, everywhere, working } from '../facade/places.ts'
import type { Got } from './receiver.ts'
import { LOOPBACK, receiver, sending } from './receiver.ts'

const SECRET = 'a-secret-of-the-workers-alone-0123456789'
const work = task('work', {
  retries: 0,
  run: (how: string) => {
    if (how === 'bad') throw new RangeError('bad work')
    return { how, at: new Date(0), big: 12n, bytes: new Uint8Array([1, 2]), tags: new Set(['a']) }
  },
})
const http = { secret: SECRET }

function verified({ headers, body }: Got): Record<string, unknown> {
  const hook = new Webhook(SECRET, { format: 'raw' })
  return hook.verify(body, headers as Record<string, string>) as Record<string, unknown>
}

test('a URL is told how the run ended, in a form that Standard Webhooks verifies', async () => {
  const { url, got } = await receiver()
  const { deferq } = sending({ http, tasks: [work] })
  const good = await deferq.dispatch('work', 'good', { callback: url })
  await eventually('it is told', () => got.length === 1)
  const bad = await deferq.dispatch('work', 'bad', { callback: url })
  await eventually('it is told again', () => got.length === 2)
  expect(got[0]).toMatchObject({
    method: 'POST',
    headers: { 'content-type': 'application/json', 'deferq-attempt': '1' },
  })
  expect(verified(got[0] as Got)).toEqual({
    type: 'task.completed',
    timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
    data: {
      id: good.taskId,
      name: 'work',
      status: 'completed',
      result: { how: 'good', at: '1970-01-01T00:00:00.000Z', big: '12', bytes: 'AQI=', tags: ['a'] },
    },
  })
  expect(verified(got[1] as Got)).toMatchObject({
    type: 'task.failed',
    data: { id: bad.taskId, status: 'failed', error: { name: 'RangeError', message: 'bad work' } },
  })
  expect(got[1]?.body).not.toContain('stack')
})

test('cancellation, a result of nothing, and a run that had ended already are told as well', async () => {
  const { url, got } = await receiver()
  const nothing = task('nothing', { run: () => undefined })
  const { deferq } = sending({ http, tasks: [work, nothing] })
  const { taskId } = await deferq.dispatch('work', 'late', { delay: '1h', callback: url })
  await deferq.cancel(taskId, 'not needed')
  await eventually('cancelled', () => got.length === 1)
  expect(verified(got[0] as Got)).toMatchObject({
    type: 'task.cancelled',
    data: { error: { code: 'TASK_CANCELLED', message: 'not needed' } },
  })
  await deferq.run('nothing', {})
  await deferq.dispatch('nothing', {}, { callback: url })
  await eventually('a hit', () => got.length === 2)
  expect(verified(got[1] as Got)).toMatchObject({ type: 'task.completed', data: { result: null } })
})

test('it is a task of its own: listed, tried again under one id, and chained with others', async () => {
  const { url, got } = await receiver((_got, response, _request, count) =>
    response.writeHead(count < 3 ? 503 : 200).end(),
  )
  const heard: unknown[] = []
  const after = task('after', { run: (_: unknown, { parent }) => void heard.push(parent?.name) })
  const { deferq } = sending({ http, tasks: [work, after] })
  const callback = [{ url, attemptInterval: 10, attemptLimit: 9, on: 'success' }, 'after'] as const
  const { taskId } = await deferq.dispatch('work', 'good', { callback, traceId: 'trace-7' })
  await eventually('the whole chain', () => heard.length === 1)
  expect(heard).toEqual(['work'])
  expect(got).toHaveLength(3)
  const ids = got.map(({ headers }) => headers['webhook-id'])
  expect(new Set(ids).size).toBe(1)
  const { receipts } = await deferq.list({ name: 'http.request' })
  expect(receipts).toMatchObject([
    { taskId: ids[0], status: 'completed', attempt: 3, traceId: 'trace-7', result: { status: 200 } },
  ])
  expect(receipts[0]?.history).toHaveLength(2)
  for (const each of got) expect(verified(each)).toMatchObject({ data: { id: taskId } })
})

test('the secret lies in no store; without one nothing is sent, and it is tried again', async () => {
  const { url, got } = await receiver()
  const { deferq } = sending({ tasks: [work] })
  onTestFinished(() => void delete process.env.DEFERQ_SECRET)
  delete process.env.DEFERQ_SECRET
  const callback = { url, attemptInterval: 20 }
  await deferq.dispatch('work', 'good', { callback })
  const found = async () => (await deferq.list({ name: 'http.request' })).receipts[0]
  await eventually('it has failed', async () => ((await found())?.history.length ?? 0) >= 1)
  expect((await found())?.history[0]?.error.message).toMatch(
    /no secret to sign a webhook with: set DEFERQ_SECRET/,
  )
  expect(got).toHaveLength(0)
  process.env.DEFERQ_SECRET = SECRET
  await eventually('it is told', () => got.length === 1)
  verified(got[0] as Got)
  const engine = await deferq.open()
  const { entries } = await engine.list({ name: 'http.request' })
  expect(JSON.stringify(entries)).not.toContain(SECRET)
})

test('unsigned where the caller says so, with headers of its own', async () => {
  const { url, got } = await receiver()
  const { deferq } = sending({ tasks: [work] })
  const callback = {
    url: new URL(`${url}/a?b=c`),
    sign: false,
    headers: { 'x-for': 'us' },
    announce: 'none',
  } as const
  await deferq.dispatch('work', 'good', { callback })
  await eventually('it is told', () => got.length === 1)
  expect(got[0]).toMatchObject({ path: '/a?b=c', headers: { 'x-for': 'us' } })
  expect(got[0]?.headers).not.toHaveProperty('webhook-signature')
})

test('one that was given up can’t be sent again by itself: it would have nothing to tell', async () => {
  const { url, got } = await receiver(({ path }, response) =>
    response.writeHead(path === '/again' ? 200 : 418).end(),
  )
  const { deferq } = sending({ http, tasks: [work] })
  await deferq.dispatch('work', 'good', { callback: { url, method: 'PUT' } })
  const failed = async () =>
    (await deferq.list({ name: 'http.request', status: 'failed' })).receipts[0]?.taskId
  await eventually('it is given up', async () => (await failed()) !== undefined)
  const { taskId } = await deferq.retry((await failed()) as string)
  await expect(deferq.result(taskId)).rejects.toMatchObject({
    details: { attempts: 1 },
    cause: { message: expect.stringMatching(/follows no run that it could tell of/) },
  })
  expect(got.map(({ method }) => method)).toEqual(['PUT'])
  // But the run that it followed can be asked for again, and answers from its result.
  await deferq.dispatch('work', 'good', { callback: `${url}/again` })
  await eventually('it is told', () => got.length === 2)
  expect(verified(got[1] as Got)).toMatchObject({ type: 'task.completed' })
})

test('of a result that lies apart', async () => {
  const { url, got } = await receiver()
  const { deferq } = sending({ http, tasks: [work], results: { store: new Keyv(), above: 1 } })
  await deferq.dispatch('work', 'good', { callback: url })
  await eventually('it is told', () => got.length === 1)
  expect(verified(got[0] as Got)).toMatchObject({ data: { result: { how: 'good', big: '12' } } })
})

test('on says which end is told', async () => {
  const { url, got } = await receiver()
  const { deferq } = sending({ http, tasks: [work] })
  const callback = [
    { url: `${url}/success`, on: 'success' },
    { url: `${url}/failure`, on: 'failure' },
    { url: `${url}/both` },
  ] as const
  await deferq.dispatch('work', 'good', { callback })
  await deferq.dispatch('work', 'bad', { callback })
  await eventually('four', () => got.length >= 4)
  expect(got.map(({ path }) => path).sort()).toEqual(['/both', '/both', '/failure', '/success'])
})

test('what is no webhook is refused at the dispatch', async () => {
  const { deferq } = sending({ tasks: [work] })
  for (const [callback, message] of [
    [{ url: 'ftp://a.example' }, /http: and https: alone/],
    [{ url: 'http://a:b@a.example' }, /credentials/],
    [{ url: 'http://a.example', body: 'x' }, /leave out body and json/],
    [{ url: 'http://a.example', on: 'sometimes' }, /is on 'sometimes'/],
    [{ url: 'http://a.example', colour: 1 }, /no option 'colour'/],
    [{ url: 'http://a.example', attemptLimit: 0 }, /attemptLimit/],
  ] as const)
    await expect(
      deferq.dispatch('work', 'good', { callback: callback as never }),
      JSON.stringify(callback),
    ).rejects.toThrow(message)
  const without = new DeferQ({ tasks: [work] })
  onTestFinished(() => without.close())
  await expect(without.dispatch('work', 'good', { callback: 'https://a.example' })).rejects.toThrow(
    /Add httpRequest\(\)/,
  )
})

everywhere('on every store', async (place) => {
  const { url, got } = await receiver()
  const deferq = place.deferq({ tasks: [work, httpRequest({ ...http, allow: LOOPBACK })] })
  const { taskId } = await deferq.dispatch('work', 'good', { callback: url })
  working(deferq)
  await eventually('it is told', () => got.length === 1)
  expect(verified(got[0] as Got)).toMatchObject({ type: 'task.completed', data: { id: taskId } })
})
