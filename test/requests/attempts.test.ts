// How a request ends: by its codes, its expiry and its attempts; when it is tried again; and what is kept of each attempt.
import { createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import type { RequestResult } from '../../src/index.ts'
import { DeferQ, isDeferqError, task, Worker } from '../../src/index.ts'
import { httpRequest } from '../../src/requests/index.ts'
import { attemptsBefore, dispatchOf, orderOf } from '../../src/requests/request-spec.ts'
import { httpDateMs, retryAfterMs } from '../../src/requests/retry-after.ts'
import { tallied } from '../../src/requests/tally.ts'
import { eventually } from '../facade/places.ts'
import { receiver, sending } from './receiver.ts'

const outcome = async (
  deferq: DeferQ,
  taskId: string,
): Promise<{ error?: Error; result?: RequestResult }> => {
  try {
    return { result: await deferq.result<RequestResult>(taskId, { timeout: 10_000 }) }
  } catch (error) {
    return { error: error as Error }
  }
}
const causeOf = (error: Error | undefined): { message: string; details: Record<string, unknown> } =>
  error?.cause as never

test('a success ends it, with the answer as its result', async () => {
  const { url, got } = await receiver((_got, response) => {
    response.writeHead(201, { 'content-type': 'application/json', 'set-cookie': 'a=b', 'x-id': '7' })
    response.end('{"fine":true}')
  })
  const { deferq } = sending()
  const { taskId, name } = await deferq.request({ url: `${url}/hook?a=b`, json: { n: 1 } })
  expect(name).toBe('http.request')
  const { result } = await outcome(deferq, taskId)
  expect(result).toMatchObject({ status: 201, body: '{"fine":true}', cut: false, attempt: 1 })
  expect(result?.headers).toMatchObject({ 'x-id': '7' })
  expect(result?.headers).not.toHaveProperty('set-cookie')
  expect(got).toMatchObject([{ method: 'POST', path: '/hook?a=b' }])
})

test('the codes that the caller names end it, and no others', async () => {
  const codes = [200, 500, 418, 202]
  const { url, got } = await receiver((_got, response, _request, count) => {
    response.writeHead(codes[count - 1] as number).end()
  })
  const { deferq } = sending()
  const one = await deferq.request({ url, successCodes: [202, 418 - 1], attemptInterval: 1 })
  const stopped = await outcome(deferq, one.taskId)
  expect(stopped.error).toMatchObject({ code: 'TASK_FAILED', details: { attempts: 3 } })
  expect(causeOf(stopped.error)).toMatchObject({
    code: 'REQUEST_FAILED',
    message: `GET to 127.0.0.1:${new URL(url).port} was answered 418 I'm a Teapot, and is given up.`,
    details: { status: 418, attempts: { 200: { times: 1 }, 500: { times: 1 }, 418: { times: 1 } } },
  })
  const two = await deferq.request({ url, successCodes: [202], attemptInterval: 1 })
  expect((await outcome(deferq, two.taskId)).result).toMatchObject({ status: 202, attempt: 1 })
  expect(got).toHaveLength(4)
})

test('stop codes give it up at once', async () => {
  const { url, got } = await receiver((_got, response) => response.writeHead(410).end('gone for good'))
  const { deferq } = sending()
  const { taskId } = await deferq.request({ url, stopCodes: [404, 410], attemptInterval: 1 })
  const { error } = await outcome(deferq, taskId)
  expect(causeOf(error).details).toMatchObject({ status: 410, body: 'gone for good' })
  expect(got).toHaveLength(1)
})

test('anything else is tried again after the interval until the attempts are spent', async () => {
  const { url, got } = await receiver((_got, response) => response.writeHead(503).end())
  const { deferq } = sending()
  const { taskId } = await deferq.request({ url, attemptLimit: 4, attemptInterval: 60 })
  const { error } = await outcome(deferq, taskId)
  expect(error).toMatchObject({ code: 'TASK_FAILED', details: { attempts: 4 } })
  expect(got).toHaveLength(4)
  for (let index = 1; index < 4; index++)
    expect((got[index]?.at as number) - (got[index - 1]?.at as number)).toBeGreaterThan(55)
  const { history } = await deferq.getStatus(taskId)
  expect(history.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4])
  expect(history.map(({ error }) => (error as { details?: unknown }).details)).toMatchObject(
    [1, 2, 3, 4].map((times) => ({ status: 503, attempts: { 503: { times } } })),
  )
})

test('a receiver that is away, or drops the connection, is tried again', async () => {
  const raw = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => raw.listen(0, '127.0.0.1', resolve))
  const { port } = raw.address() as { port: number }
  const { deferq } = sending()
  const { taskId } = await deferq.request({ url: `http://127.0.0.1:${port}`, attemptInterval: 20 })
  await eventually('two attempts', async () => (await deferq.getStatus(taskId)).history.length >= 2)
  await new Promise((resolve) => raw.close(resolve))
  const before = (await deferq.getStatus(taskId)).history.length
  await eventually('refused', async () => {
    const { history } = await deferq.getStatus(taskId)
    return (
      history.length > Math.min(before, 9) && /ECONNREFUSED/.test(history.at(-1)?.error.message as string)
    )
  })
  const { history } = await deferq.getStatus(taskId)
  expect(history[0]?.error.message).toMatch(/failed with (ECONNRESET|ECONNREFUSED)/)
  await deferq.cancel(taskId)
})

test('the time-out covers a receiver that never answers', async () => {
  const { url } = await receiver(() => {})
  const { deferq } = sending()
  const { taskId } = await deferq.request({ url, timeout: 80, attemptLimit: 2, attemptInterval: 1 })
  const { error } = await outcome(deferq, taskId)
  expect(causeOf(error)).toMatchObject({
    message: expect.stringContaining('was not answered within 80 ms'),
    details: { attempts: { timeout: { times: 2 } } },
  })
})

test('what has expired by the store’s clock is not sent, and not tried when it would expire meanwhile', async () => {
  const { url, got } = await receiver((_got, response) => response.writeHead(500).end())
  const { deferq } = sending()
  const past = await deferq.request({ url: `${url}/1`, expiresAt: Date.now() - 1 })
  expect(causeOf((await outcome(deferq, past.taskId)).error).message).toContain(
    'has expired, and was not sent',
  )
  expect(got).toHaveLength(0)

  const soon = await deferq.request({ url: `${url}/2`, expiresAt: new Date(Date.now() + 30_000) })
  const { error } = await outcome(deferq, soon.taskId)
  expect(causeOf(error).message).toContain('500 Internal Server Error, and expires before another attempt')
  expect(got).toHaveLength(1)

  const rounds = await deferq.request({
    url: `${url}/3`,
    expiresAt: Date.now() + 1_500,
    attemptInterval: 300,
    attemptLimit: 99,
  })
  expect(causeOf((await outcome(deferq, rounds.taskId)).error).message).toContain(
    'expires before another attempt',
  )
  expect(got.length - 1).toBeGreaterThanOrEqual(2)
  expect(got.length - 1).toBeLessThanOrEqual(6)
})

test('Retry-After comes before the interval, in either form', async () => {
  const answers = ['1', new Date(Date.now() + 3_600_000).toUTCString()]
  const { url, got } = await receiver((_got, response, _request, count) => {
    response.writeHead(429, { 'retry-after': answers[count - 1] }).end()
  })
  const { deferq } = sending()
  const { taskId } = await deferq.request({ url, attemptInterval: '1h' })
  await eventually('a second attempt', () => got.length === 2)
  expect((got[1]?.at as number) - (got[0]?.at as number)).toBeGreaterThan(950)
  await eventually('it is put off', async () => (await deferq.getStatus(taskId)).status === 'pending')
  const { dueAt } = await deferq.getStatus(taskId)
  expect(dueAt.getTime() - Date.now()).toBeGreaterThan(3_500_000)
  expect(dueAt.getTime() - Date.now()).toBeLessThan(3_700_000)
  await deferq.cancel(taskId)
})

test('Retry-After in all its forms', () => {
  const now = Date.parse('1994-11-06T08:49:37Z')
  expect(retryAfterMs('120', undefined)).toBe(120_000)
  expect(retryAfterMs(' 0 ', undefined)).toBe(0)
  for (const date of [
    'Sun, 06 Nov 1994 08:50:37 GMT',
    'Sunday, 06-Nov-94 08:50:37 GMT',
    'Sun Nov  6 08:50:37 1994',
  ]) {
    expect(retryAfterMs(date, undefined, now), date).toBe(60_000)
    expect(retryAfterMs(date, undefined, now + 120_000), date).toBe(0)
    // By the receiver's clock, if it shows one.
    expect(retryAfterMs(date, 'Sun, 06 Nov 1994 08:49:37 GMT', now + 999_999), date).toBe(60_000)
  }
  for (const bad of [
    '',
    '-1',
    '1.5',
    'soon',
    '1e3',
    '99999999999',
    'Sun, 06 Nov 1994',
    '2024-01-01T00:00:00Z',
    'Sun, 32 Nov 1994 08:50:37 GMT',
    'Sun, 06 Foo 1994 08:50:37 GMT',
    'Sun, 06 Nov 1994 24:50:37 GMT',
  ])
    expect(retryAfterMs(bad, undefined), bad).toBeUndefined()
  expect(
    new Date(httpDateMs('Sunday, 06-Nov-94 08:49:37 GMT', Date.UTC(2026, 0)) as number).getUTCFullYear(),
  ).toBe(1994)
  expect(
    new Date(httpDateMs('Sunday, 06-Nov-30 08:49:37 GMT', Date.UTC(2026, 0)) as number).getUTCFullYear(),
  ).toBe(2030)
})

test('the limit is derived from the expiry and the interval', () => {
  const limit = (given: object): number =>
    attemptsBefore(orderOf({ url: 'http://a.example', ...given }, 'x'), 1_000_000)
  expect(limit({})).toBe(1_440)
  expect(limit({ attemptInterval: 5 })).toBe(1_440)
  expect(limit({ expiresAt: 1_000_000 + 3_600_000 })).toBe(60)
  expect(limit({ expiresAt: 1_000_000 + 3_600_000, attemptInterval: '10m' })).toBe(6)
  expect(limit({ expiresAt: 1_000_000 + 3_600_001, attemptInterval: '10m' })).toBe(7)
  expect(limit({ expiresAt: 1_000_000 + 1 })).toBe(1)
  expect(limit({ expiresAt: 1 })).toBe(1)
  expect(limit({ expiresAt: 1_000_000 + 100, attemptInterval: [10, 20, 30] })).toBe(5)
  expect(limit({ expiresAt: 1_000_000 + 70_000, attemptInterval: { initial: '10s', jitter: 0 } })).toBe(3)
  expect(limit({ expiresAt: 1_000_000 + 100, attemptInterval: 0 })).toBe(10_000)
  const { options } = dispatchOf({ url: 'http://a.example', expiresAt: 7_200_000, delay: '1h' }, 'x', 0)
  expect(options.retries).toBe(59)
  expect(dispatchOf({ url: 'http://a.example', attemptLimit: 3 }, 'x').options.retries).toBe(2)
})

test('the sum of all attempts goes on where the newest errors end', () => {
  const at = new Date(0)
  const lost = Object.assign(new Error('lost'), { code: 'LEASE_LOST' })
  const known = Object.assign(new Error('503'), {
    details: { attempts: { 503: { times: 40, first: at.toISOString(), last: at.toISOString() } } },
  })
  const history = [
    { attempt: 41, at, error: known },
    { attempt: 42, at, error: lost },
  ]
  expect(tallied({ history, startedAt: new Date(5) }, '503')).toEqual({
    503: { times: 41, first: at.toISOString(), last: new Date(5).toISOString() },
    LEASE_LOST: { times: 1, first: at.toISOString(), last: at.toISOString() },
  })
})

test('equal requests share what is under way, whenever they expire; afterwards they are sent anew', async () => {
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  const { url, got } = await receiver(async (_got, response) => {
    await gate
    response.end()
  })
  const { deferq } = sending()
  const request = { url, json: { n: 1 } }
  const first = await deferq.request({ ...request, expiresAt: Date.now() + 60_000 })
  const second = await deferq.request({ ...request, expiresAt: Date.now() + 70_000 })
  const other = await deferq.request({ ...request, idempotencyKey: 'another' })
  expect([first.outcome, second.outcome, other.outcome]).toEqual(['created', 'joined', 'created'])
  expect(second.taskId).toBe(first.taskId)
  open()
  await deferq.result(first.taskId)
  const third = await deferq.request(request)
  expect(third.outcome).toBe('created')
  await deferq.result(third.taskId)
  await deferq.result(other.taskId)
  expect(got).toHaveLength(3)
})

test('a cancelled request ends its connection', async () => {
  let closed = false
  const { url, got } = await receiver((_got, response) => response.on('close', () => (closed = true)))
  const { deferq } = sending()
  const { taskId } = await deferq.request({ url })
  await eventually('it was sent', () => got.length === 1)
  await deferq.cancel(taskId)
  await eventually('the connection is over', () => closed)
})

test('a deferq without httpRequest() says so, and so does a worker', async () => {
  const other = task('other', { run: () => 1 })
  const without = new DeferQ({ tasks: [other] })
  onTestFinished(() => without.close())
  await expect(without.request({ url: 'http://a.example' })).rejects.toThrow(
    /no task 'http.request'.*Add httpRequest\(\)/,
  )
  const said: string[] = []
  const hear = (_details: object, message: string): void => void said.push(message)
  const logger = { debug: hear, info: hear, warn: hear, error: hear }
  const engine = await new DeferQ().open()
  const producer = new DeferQ({ engine })
  const deferq = new DeferQ({ engine, tasks: [other], logger })
  const worker = new Worker(deferq, { sleep: 20 })
  const run = worker.run()
  onTestFinished(async () => {
    await worker.abort()
    await run
    await engine.close()
  })
  await producer.request({ url: 'http://a.example' })
  await eventually('it is reported', () => said.some((text) => /'http.request' wait.*no handler/.test(text)))
})

test('what no worker could carry out is refused when it is asked for', async () => {
  const { deferq } = sending()
  const url = 'http://a.example'
  const bad: [object, RegExp][] = [
    [{}, /url must be a whole one/],
    [{ url: '/hook' }, /url must be a whole one/],
    [{ url: 'ftp://a.example' }, /http: and https: alone/],
    [{ url: 'http://u:hunter2@a.example' }, /holds credentials/],
    [{ url, method: 'CONNECT' }, /method is "CONNECT": use GET/],
    [{ url, method: 'GET', body: 'x' }, /a GET has no body/],
    [{ url, body: 'x', json: 1 }, /one of body, json and outcome/],
    [{ url, outcome: true }, /outcome is for callbacks/],
    [{ url, body: 7 }, /body must be text or bytes/],
    [{ url, json: () => 1 }, /json can't be written/],
    [{ url, json: 1n }, /json can't be written/],
    [{ url, headers: { host: 'x' } }, /set by the sender itself/],
    [{ url, headers: { 'Content-Length': '3' } }, /set by the sender itself/],
    [{ url, headers: { 'a b': 'x' } }, /no valid name/],
    [{ url, headers: { a: 'x\r\nb: y' } }, /characters that no header/],
    [{ url, headers: { a: 7 } }, /must be text, or \{ key/],
    [{ url, headers: { a: 'x', A: 'y' } }, /is there twice/],
    [{ url, successCodes: [] }, /nothing could succeed/],
    [{ url, successCodes: [418] }, /418 can't be a success code/],
    [{ url, successCodes: [99] }, /each of successCodes/],
    [{ url, stopCodes: 404 }, /stopCodes must be a list/],
    [{ url, attemptLimit: 0 }, /attemptLimit must be a whole number from 1/],
    [{ url, attemptInterval: '1 parsec' }, /attemptInterval/],
    [{ url, attemptInterval: () => 1 }, /can't be a function/],
    [{ url, timeout: 0 }, /timeout must be longer/],
    [{ url, expiresAt: 'tomorrow' }, /expiresAt/],
    [{ url, jwt: { key: 'a', algorithm: 'none' } }, /algorithm is 'none': use HS256/],
    [{ url, jwt: {} }, /jwt.key must be the name/],
    [{ url, jwt: { key: 'a', header: 'host' } }, /jwt.header is set/],
    [{ url, sign: '' }, /sign must be/],
    [{ url, announce: 'loudly' }, /announce is "loudly"/],
    [{ url, retries: 3 }, /no option 'retries'|attemptLimit/],
    [{ url, colour: 'red' }, /no option 'colour'/],
  ]
  for (const [options, message] of bad) {
    const error = await deferq.request(options as never).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    expect(isDeferqError(error), JSON.stringify(Object.keys(options))).toBe(true)
    expect((error as Error).message).toMatch(message)
    expect((error as Error).message).not.toContain('hunter2')
  }
  for (const options of [
    { maxBody: -1 },
    { secret: '' },
    { keys: { a: undefined } },
    { userAgent: 'a\nb' },
    { lookup: 7 },
    { allow: 7 },
  ])
    expect(() => httpRequest(options as never)).toThrow(/httpRequest\(\)/)
})
