// The handler by itself: its routes, statuses, headers and documents.
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { eventually } from '../../src/conformance/scene.ts'
import { ROUTES } from '../../src/http/handler.ts'
import { task } from '../../src/index.ts'
import type { Scene } from './scene.ts'
import { BASE, jsonOf, setScene, signedRequest } from './scene.ts'

const values = task('values', {
  run: async () => ({
    at: new Date(0),
    big: 12n,
    set: new Set([1]),
    bytes: new Uint8Array([1, 2]),
    map: new Map([['a', 1]]),
  }),
})
let letGo: () => void = () => {}
const slow = task('slow', {
  retries: 0,
  run: async (_params: object, { progress, signal }) => {
    progress({ half: true })
    await new Promise<void>((resolve, reject) => {
      letGo = resolve
      signal.addEventListener('abort', () => reject(signal.reason))
    })
    return 'at last'
  },
})

let scene: Scene
beforeEach(() => {
  scene = setScene({ aliases: { yearly: 'report.generate' } }, [values, slow])
})
afterEach(() => scene.close())

const post = (body: unknown, headers?: Record<string, string>): Promise<Response> =>
  scene.ask('POST', '/tasks', body, headers)

describe('POST /tasks', () => {
  test('a new task is 202, and says where and when to look', async () => {
    const response = await post({ name: 'report.generate', params: { year: 2024 } })
    expect(response.status).toBe(202)
    const body = await jsonOf(response)
    expect(body).toMatchObject({ status: 'pending', outcome: 'created', name: 'report.generate', attempt: 0 })
    expect(response.headers.get('location')).toBe(`/deferq/tasks/${body.taskId}`)
    expect(response.headers.get('retry-after')).toBe('1')
    expect(response.headers.get('cache-status')).toBe('deferq; fwd=miss')
    const again = await post({ name: 'report.generate', params: { year: 2024 } })
    expect(again.headers.get('cache-status')).toBe('deferq; fwd=miss; collapsed')
    expect((await jsonOf(again)).taskId).toBe(body.taskId)
  })

  test('it is the same piece of work as one that is dispatched inside', async () => {
    const inside = await scene.deferq.dispatch('report.generate', { year: 2025 })
    expect(await jsonOf(await post({ name: 'report.generate', params: { year: 2025 } }))).toMatchObject({
      taskId: inside.taskId,
      outcome: 'joined',
    })
  })

  test('a result that is there is 200, with its age for caches', async () => {
    await scene.work()
    await scene.deferq.run('report.generate', { year: 2024 })
    const response = await post({ name: 'report.generate', params: { year: 2024 } })
    expect(response.status).toBe(200)
    expect(response.headers.get('cache-status')).toMatch(/^deferq; hit; ttl=3[56]\d\d$/)
    expect(response.headers.get('retry-after')).toBeNull()
    expect(await jsonOf(response)).toMatchObject({ status: 'completed', result: { year: 2024, rows: 3 } })
    const anew = await post({ name: 'report.generate', params: { year: 2024 }, options: { refresh: true } })
    expect(anew.status).toBe(202)
  })

  test('Prefer: wait waits for the end, and no longer than the server allows', async () => {
    await scene.work()
    const response = await post(
      { name: 'report.generate', params: { year: 1 } },
      { prefer: 'respond-async, wait=10' },
    )
    expect(response.status).toBe(200)
    expect(response.headers.get('preference-applied')).toBe('wait=10')
    expect(await jsonOf(response)).toMatchObject({ outcome: 'created', result: { year: 1 } })
    const brief = setScene({ maxWait: 1 })
    try {
      const late = await brief.ask(
        'POST',
        '/tasks',
        { name: 'report.generate', params: { year: 2 } },
        { prefer: 'wait=1000' },
      )
      expect(late.status).toBe(202)
      expect(late.headers.get('preference-applied')).toBe('wait=1')
    } finally {
      await brief.close()
    }
  })

  test('a failure says what was thrown, without stacks and passwords', async () => {
    await scene.work()
    const response = await post({ name: 'report.break', params: {} }, { prefer: 'wait=10' })
    expect(response.status).toBe(200)
    const text = await response.text()
    expect(JSON.parse(text)).toMatchObject({ status: 'failed', error: { code: 'TASK_FAILED' } })
    expect(text).not.toMatch(/\.ts:|hidden/)
    const remembered = await post({ name: 'report.break', params: {} })
    expect(remembered.headers.get('cache-status')).toBe('deferq; hit; detail=failure')
  })

  test('an alias is the same work, and its task’s name is not told', async () => {
    const inside = await scene.deferq.dispatch('report.generate', { year: 7 })
    const only = setScene({ allow: [], aliases: { yearly: 'report.generate' } })
    try {
      const response = await only.ask('POST', '/tasks', { name: 'yearly', params: { year: 7 } })
      const text = await response.text()
      expect(text).not.toContain('report.generate')
      expect(JSON.parse(text)).toMatchObject({ name: 'yearly' })
      const status = await only.ask('GET', `/tasks/${JSON.parse(text).taskId}`)
      expect(await jsonOf(status)).toMatchObject({ name: 'yearly' })
      const refused = await only.ask('POST', '/tasks', {
        name: 'yearly',
        params: {},
        options: { priority: 'high' },
      })
      expect(refused.status).toBe(422)
      expect(await refused.text()).not.toContain('report.generate')
    } finally {
      await only.close()
    }
    expect((await jsonOf(await post({ name: 'yearly', params: { year: 7 } }))).taskId).toBe(inside.taskId)
  })

  test('Idempotency-Key stands in for the params; with others it is refused', async () => {
    const key = { 'idempotency-key': '"order-17"' }
    const first = await post({ name: 'report.generate', params: { year: 1 } }, key)
    const second = await post(
      { name: 'report.generate', params: { year: 1 } },
      { 'idempotency-key': 'order-17' },
    )
    expect((await jsonOf(second)).taskId).toBe((await jsonOf(first)).taskId)
    const other = await post({ name: 'report.generate', params: { year: 2 } }, key)
    expect(other.status).toBe(422)
    expect(await jsonOf(other)).toMatchObject({ code: 'PARAMS_MISMATCH' })
  })

  test('a callback is a task that is allowed too', async () => {
    const allowed = {
      name: 'report.generate',
      params: { year: 3 },
      options: { callback: { name: 'values', on: 'both' } },
    }
    expect((await post(allowed)).status).toBe(202)
    const hidden = {
      name: 'report.generate',
      params: { year: 4 },
      options: { callback: ['values', 'hidden.task'] },
    }
    const response = await post(hidden)
    expect(response.status).toBe(422)
    expect(await jsonOf(response)).toMatchObject({ code: 'UNKNOWN_TASK' })
  })

  test('values that JSON has not are written so that others can read them', async () => {
    await scene.work()
    const response = await post({ name: 'values', params: {} }, { prefer: 'wait=10' })
    expect((await jsonOf(response)).result).toEqual({
      at: '1970-01-01T00:00:00.000Z',
      big: '12',
      set: [1],
      bytes: 'AQI=',
      map: [['a', 1]],
    })
  })
})

describe('GET and DELETE /tasks/{id}', () => {
  test('its state with an ETag, and 304 while that holds', async () => {
    const { taskId } = await scene.deferq.dispatch('report.generate', { year: 1 })
    const first = await scene.ask('GET', `/tasks/${taskId}`)
    expect(first.status).toBe(200)
    const etag = first.headers.get('etag') as string
    const same = await scene.ask('GET', `/tasks/${taskId}`, undefined, { 'if-none-match': `"x", W/${etag}` })
    expect(same.status).toBe(304)
    expect(await same.text()).toBe('')
    await scene.work()
    await scene.deferq.result(taskId)
    const changed = await scene.ask('GET', `/tasks/${taskId}`, undefined, { 'if-none-match': etag })
    expect(changed.status).toBe(200)
    expect(await jsonOf(changed)).toMatchObject({ status: 'completed', result: { year: 1, rows: 3 } })
  })

  test('unknown is 410, malformed 404, and what is not offered as if it were not', async () => {
    const { taskId } = await scene.deferq.dispatch('hidden.task', {})
    for (const [id, status] of [
      ['ab'.repeat(44), 410],
      [taskId, 410],
      ['7', 404],
      [`${taskId}x`, 404],
    ] as const) {
      for (const [method, path] of [
        ['GET', ''],
        ['GET', '/events'],
        ['DELETE', ''],
      ] as const) {
        const response = await scene.ask(method, `/tasks/${id}${path}`)
        expect([response.status, response.headers.get('content-type')]).toEqual([
          status,
          'application/problem+json',
        ])
      }
    }
    expect((await scene.deferq.getStatus(taskId)).status).toBe('pending')
  })

  test('cancelling ends it, and may be repeated; what has ended by itself stays as it is', async () => {
    const { taskId } = await scene.deferq.dispatch('report.generate', { year: 1 })
    expect(await jsonOf(await scene.ask('DELETE', `/tasks/${taskId}?reason=changed`))).toEqual({
      taskId,
      answer: 'cancelled',
    })
    expect(await jsonOf(await scene.ask('DELETE', `/tasks/${taskId}`))).toEqual({
      taskId,
      answer: 'cancelled',
    })
    const { status, error } = await jsonOf(await scene.ask('GET', `/tasks/${taskId}`))
    expect([status, (error as { message: string }).message]).toEqual([
      'cancelled',
      expect.stringContaining('changed'),
    ])
  })
})

test('batches: many under one id, looked at until all have ended', async () => {
  await scene.work()
  const items = [1, 2, 3].map((year) => ({ name: 'yearly', params: { year } }))
  const made = await scene.ask('POST', '/batches', { items, finally: 'values' })
  expect(made.status).toBe(202)
  const { id, total } = await jsonOf(made)
  expect([made.headers.get('location'), total]).toEqual([`/deferq/batches/${id}`, 3])
  await eventually('all have ended', async () => {
    return (await jsonOf(await scene.ask('GET', `/batches/${id}`))).completed === 3
  })
  const hidden = await scene.ask('POST', '/batches', { items: [...items, { name: 'hidden.task' }] })
  expect([hidden.status, (await jsonOf(hidden)).code]).toEqual([422, 'UNKNOWN_TASK'])
  const waiting = await jsonOf(
    await scene.ask('POST', '/batches', { items: [{ name: 'slow', options: { delay: '1h' } }] }),
  )
  expect(await jsonOf(await scene.ask('DELETE', `/batches/${waiting.id}`))).toMatchObject({
    cancelled: 1,
    pending: 0,
  })
  expect((await scene.ask('GET', '/batches/7')).status).toBe(404)
  expect((await scene.ask('GET', `/batches/${'ab'.repeat(44)}`)).status).toBe(410)
})

test('POST /invalidations forgets one result, those of a name, or what stands under an id', async () => {
  await scene.work()
  for (const year of [1, 2, 3, 4]) await scene.deferq.run('report.generate', { year })
  const forget = async (body: object): Promise<unknown> =>
    (await jsonOf(await scene.ask('POST', '/invalidations', body))).invalidated
  const { taskId } = await scene.deferq.dispatch('report.generate', { year: 2 })
  expect(await forget({ name: 'report.generate', params: { year: 1 } })).toBe(1)
  expect(await forget({ taskId })).toBe(1)
  expect(await forget({ name: 'yearly' })).toBe(2)
  expect((await scene.ask('POST', '/invalidations', { name: 'hidden.task' })).status).toBe(422)
})

describe('GET /tasks/{id}/events', () => {
  test('tells status and progress, and closes at the end', async () => {
    await scene.work()
    const { taskId } = await scene.deferq.dispatch('slow', {})
    const response = await scene.ask('GET', `/tasks/${taskId}/events`)
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    const events: { id: string; event: string; data: { status: string; progress?: unknown } }[] = []
    await readAll(response, events, () => {
      if (events.some(({ event }) => event === 'progress')) letGo()
    })
    expect(events.map(({ event }) => event)).toContain('progress')
    expect(events.at(-1)).toMatchObject({ event: 'status', data: { status: 'completed', result: 'at last' } })
    const last = events.at(-1)?.id as string
    const over = await scene.ask('GET', `/tasks/${taskId}/events`, undefined, { 'last-event-id': last })
    expect(over.status).toBe(204)
    const from = await scene.ask('GET', `/tasks/${taskId}/events`, undefined, { 'last-event-id': 'older' })
    expect(await from.text()).toMatch(/^id: .*\nevent: status\ndata: \{.*"completed".*\}\n\n$/)
  })

  test('a listener that leaves is no longer looked for', async () => {
    const { taskId } = await scene.deferq.dispatch('slow', {})
    const response = await scene.ask('GET', `/tasks/${taskId}/events`)
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toContain('"pending"')
    await reader.cancel()
    let reads = 0
    const engine = await scene.deferq.open()
    const read = engine.read.bind(engine)
    engine.read = (ids, watch) => {
      reads++
      return read(ids, watch)
    }
    await new Promise((resolve) => setTimeout(resolve, 1_300))
    expect(reads).toBe(0)
  })
})

async function readAll(response: Response, events: unknown[], each: () => void): Promise<void> {
  let rest = ''
  for await (const chunk of (response.body as ReadableStream<Uint8Array>).pipeThrough(
    new TextDecoderStream(),
  )) {
    rest += chunk
    const whole = rest.split('\n\n')
    rest = whole.pop() as string
    for (const event of whole) {
      const parts = event.split('\n').map((line) => line.split(/: (.*)/s, 2))
      const fields = Object.fromEntries(parts)
      if (fields.data !== undefined) events.push({ ...fields, data: JSON.parse(fields.data) })
    }
    each()
  }
}

describe('bad input', () => {
  const refused = async (
    response: Response,
    status: number,
    code: string,
  ): Promise<Record<string, unknown>> => {
    const text = await response.text()
    expect([response.status, text]).toEqual([status, expect.stringContaining(`"code":"${code}"`)])
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(text).not.toMatch(/\bat .*:\d+:\d+|node_modules|secret of the tests/)
    return JSON.parse(text)
  }

  test('what is no JSON object in UTF-8', async () => {
    for (const body of ['', '{', 'null', '[]', '"x"', '{"name":"report.generate"}}']) {
      await refused(await post(body), 400, 'INVALID_REQUEST')
    }
    const bytes = Buffer.from([0x7b, 0xff, 0x7d])
    const { keysOf, sign } = await import('../../src/http/index.ts')
    const headers = sign(keysOf('a secret of the tests, which is long enough', 's'), {
      body: bytes,
      request: { method: 'POST', target: '/deferq/tasks' },
    })
    const request = new Request(`${BASE}/tasks`, {
      method: 'POST',
      body: bytes,
      headers: { ...headers, 'content-type': 'application/json' },
    })
    await refused(await scene.handler(request), 400, 'INVALID_REQUEST')
  })

  test('another content type or encoding', async () => {
    const body = { name: 'report.generate' }
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'application/jsonp',
      'application/json; charset=latin1',
    ])
      await refused(await post(body, { 'content-type': type }), 415, 'INVALID_REQUEST')
    expect((await post(body, { 'content-type': 'application/json; charset=utf-8' })).status).toBe(202)
    await refused(await post(body, { 'content-encoding': 'gzip' }), 415, 'INVALID_REQUEST')
  })

  test('too large, announced or not, and too deep', async () => {
    const small = setScene({ maxBody: 200 })
    try {
      const body = { name: 'report.generate', params: { x: 'y'.repeat(300) } }
      await refused(await small.ask('POST', '/tasks', body), 413, 'INVALID_REQUEST')
      const request = signedRequest('POST', `${BASE}/tasks`, body, { 'content-length': '300' })
      await refused(await small.handler(request), 413, 'INVALID_REQUEST')
    } finally {
      await small.close()
    }
    const deep = `{"name":"report.generate","params":${'['.repeat(5_000)}${']'.repeat(5_000)}}`
    await refused(await post(deep), 413, 'PARAMS_TOO_LARGE')
    const wide = { name: 'report.generate', params: { x: 'y'.repeat(1_100_000) } }
    await refused(await post(wide), 413, 'PARAMS_TOO_LARGE')
  })

  test('unknown names, members, options, paths and methods', async () => {
    for (const name of ['hidden.task', 'nothing', '__proto__', 'constructor', 7, null])
      await refused(await post({ name, params: {} }), 422, 'UNKNOWN_TASK')
    await refused(await post({ name: 'report.generate', parms: {} }), 422, 'INVALID_REQUEST')
    for (const options of [{ tx: {} }, { signal: {} }, { nothing: 1 }])
      await refused(await post({ name: 'report.generate', options }), 422, 'INVALID_REQUEST')
    await refused(await post({ name: 'report.generate', options: { delay: 'soon' } }), 422, 'INVALID_OPTION')
    await refused(await post('{"name":"report.generate","params":{"__proto__":1}}'), 422, 'UNHASHABLE_PARAMS')
    await refused(await scene.ask('GET', '/nothing'), 404, 'INVALID_REQUEST')
    const wrong = await scene.ask('PUT', '/tasks', {})
    expect(wrong.headers.get('allow')).toBe('POST')
    await refused(wrong, 405, 'INVALID_REQUEST')
  })

  test('a body that somebody else has read', async () => {
    const request = signedRequest('POST', `${BASE}/tasks`, { name: 'report.generate' })
    await request.text()
    const { detail } = await refused(await scene.handler(request), 500, 'INTERNAL')
    expect(detail).toMatch(/before any body parser/)
  })

  test('a store that is away is 503, without its address', async () => {
    const engine = await scene.deferq.open()
    const { DeferqError } = await import('../../src/index.ts')
    engine.admit = () =>
      Promise.reject(new DeferqError('STORE_UNAVAILABLE', 'redis://me:pw@inside:6379 is away'))
    const response = await post({ name: 'report.generate' })
    expect(response.headers.get('retry-after')).toBe('1')
    const { detail } = await refused(response, 503, 'STORE_UNAVAILABLE')
    expect(detail).not.toMatch(/inside/)
    expect(scene.logged.some(({ level }) => level === 'error')).toBe(true)
  })
})

test('a caller that leaves while it waits is no longer waited for', async () => {
  const leaving = new AbortController()
  const request = signedRequest('POST', `${BASE}/tasks`, { name: 'slow', params: {} }, { prefer: 'wait=20' })
  const answer = scene.handler(new Request(request, { signal: leaving.signal }))
  await eventually('it is waited for', async () =>
    (await scene.deferq.stats()).lanes.some(({ name }) => name === 'slow'),
  )
  leaving.abort()
  const begun = performance.now()
  expect((await answer).status).toBe(202)
  expect(performance.now() - begun).toBeLessThan(2_000)
})

test('the OpenAPI document is one, and covers every route', async () => {
  const response = await scene.handler(new Request(`${BASE}/openapi.json`))
  expect(response.status).toBe(200)
  const document = await jsonOf(response)
  const { valid, errors } = await new Validator().validate(document)
  expect(errors ?? []).toEqual([])
  expect(valid).toBe(true)
  const documented = Object.entries(document.paths as Record<string, object>).map(([path, methods]) => [
    path,
    Object.keys(methods)
      .filter((method) => method !== 'parameters')
      .map((method) => method.toUpperCase()),
  ])
  const served = Object.entries(ROUTES).map(([route, methods]) => [
    `/${route.replace('/id', '/{id}')}`,
    Object.keys(methods),
  ])
  expect(documented.sort()).toEqual([...served, ['/openapi.json', ['GET']]].sort())
})
