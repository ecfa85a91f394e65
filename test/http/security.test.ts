// Who is let in: nobody without a valid signature, nobody twice, on whatever instance, and without secrets this machine alone.
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { eventually } from '../../src/conformance/scene.ts'
import { MemoryEngine } from '../../src/engines/memory/index.ts'
import { createHandler } from '../../src/http/index.ts'
import { DeferQ } from '../../src/index.ts'
import { keysOf, sign, TOLERANCE_MS, verify } from '../../src/signing/signature.ts'
import type { Scene } from './scene.ts'
import { BASE, jsonOf, KEYS, listenerOf, SECRET, served, setScene, signedRequest } from './scene.ts'

let scene: Scene
beforeEach(() => {
  scene = setScene()
})
afterEach(() => scene.close())

const body = { name: 'report.generate', params: { year: 2024 } }
const reasonOf = async (response: Response): Promise<unknown> => {
  const { code, reason } = await jsonOf(response)
  return [response.status, code, reason]
}

describe('signatures', () => {
  test('missing, wrong and late ones are refused before the body is looked into', async () => {
    const bare = new Request(`${BASE}/tasks`, {
      method: 'POST',
      body: '{',
      headers: { 'content-type': 'text/plain' },
    })
    expect(await reasonOf(await scene.handler(bare))).toEqual([401, 'INVALID_SIGNATURE', 'missing'])
    const others = keysOf('another secret, of somebody else altogether', 'secret')
    const wrong = signedRequest('POST', `${BASE}/tasks`, '{', {}, others)
    expect(await reasonOf(await scene.handler(wrong))).toEqual([401, 'INVALID_SIGNATURE', 'mismatch'])
    const request = { method: 'POST', target: '/deferq/tasks' }
    const late = sign(KEYS, { body: '{', request }, { now: Date.now() - TOLERANCE_MS - 2_000 })
    const response = await scene.handler(
      new Request(`${BASE}/tasks`, { method: 'POST', body: '{', headers: { ...late } }),
    )
    expect(response.headers.get('www-authenticate')).toBe('Webhook-Signature')
    expect(await reasonOf(response)).toEqual([401, 'INVALID_SIGNATURE', 'late'])
    expect((await scene.deferq.list()).receipts).toEqual([])
    expect(scene.logged.map(({ text }) => text).join()).not.toContain(SECRET)
  })

  test('a secret that is on its way out is taken beside the new one', async () => {
    const handler = createHandler(scene.deferq, {
      secrets: ['the next secret, of 33 characters', SECRET],
      allow: ['report.generate'],
    })
    expect((await handler(signedRequest('POST', `${BASE}/tasks`, body))).status).toBe(202)
    const next = keysOf('the next secret, of 33 characters', 'secret')
    expect((await handler(signedRequest('POST', `${BASE}/tasks`, body, {}, next))).status).toBe(202)
  })

  test('without a secret, with a short one or without names nothing is served', () => {
    const { deferq } = scene
    for (const options of [
      { allow: ['report.generate'] },
      { secrets: [], allow: ['report.generate'] },
      { secrets: 'secret', allow: ['report.generate'] },
      { secrets: SECRET },
      { secrets: SECRET, allow: [] },
      { secrets: SECRET, auth: 'local-only' as const, allow: ['report.generate'] },
      { secrets: SECRET, allow: ['report.generate'], aliases: { 'report.generate': 'hidden.task' } },
    ]) {
      expect(() => createHandler(deferq, options)).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION' }),
      )
    }
    expect(() => createHandler(deferq, { secrets: SECRET, allow: ['nothing'] })).toThrow(/no task 'nothing'/)
  })
})

describe('replays', () => {
  const copies = (request: Request, count: number): Request[] =>
    Array.from({ length: count }, () => request.clone() as Request)

  test('a request is good once, whatever it asks for', async () => {
    const { taskId } = await scene.deferq.dispatch('report.generate', { year: 1 })
    for (const request of [
      signedRequest('POST', `${BASE}/tasks`, body),
      signedRequest('GET', `${BASE}/tasks/${taskId}`),
      signedRequest('POST', `${BASE}/reads`, { ids: [taskId] }),
      signedRequest('DELETE', `${BASE}/tasks/${taskId}`),
    ]) {
      const [first, second] = copies(request, 2) as [Request, Request]
      expect((await scene.handler(first)).status).toBeLessThan(300)
      expect(await reasonOf(await scene.handler(second))).toEqual([401, 'INVALID_SIGNATURE', 'replayed'])
    }
  })

  test('of many copies that arrive at several instances at once, one is answered', async () => {
    const others = Array.from({ length: 3 }, () => {
      const deferq = new DeferQ({ engine: new MemoryEngine({ store: scene.store }) })
      return createHandler(deferq, { secrets: SECRET, allow: ['report.generate'] })
    })
    const handlers = [scene.handler, ...others]
    for (let round = 0; round < 20; round++) {
      const request = signedRequest('POST', `${BASE}/tasks`, body)
      const answers = await Promise.all(
        copies(request, 12).map((copy, index) =>
          (handlers[index % handlers.length] as (r: Request) => Promise<Response>)(copy),
        ),
      )
      expect(answers.filter(({ status }) => status !== 401)).toHaveLength(1)
    }
  })

  test('what is remembered is put aside, is no work for anybody, and goes when its time is over', async () => {
    let now = Date.now()
    const { MemoryStore } = await import('../../src/engines/memory/index.ts')
    const store = new MemoryStore(() => now)
    const deferq = new DeferQ({ engine: new MemoryEngine({ store }) })
    const handler = createHandler(deferq, { secrets: SECRET, allow: ['report.generate'] })
    const requests = Array.from({ length: 50 }, () =>
      signedRequest('POST', `${BASE}/invalidations`, { name: 'report.generate' }),
    )
    for (const request of requests) expect((await handler(request.clone() as Request)).status).toBe(200)
    await eventually('all ids are put aside', async () => (await deferq.stats()).lanes.length === 0)
    expect((await handler(requests[7] as Request)).status).toBe(401)
    expect((await deferq.list()).receipts).toHaveLength(50)
    const engine = await deferq.open()
    now += TOLERANCE_MS + 61_000
    while ((await engine.sweep(1_000)).removed > 0);
    expect((await deferq.list()).receipts).toEqual([])
    await deferq.close()
  })
})

test('100,000 mutated requests: none is accepted', { timeout: 60_000 }, () => {
  const target = '/deferq/tasks?x=1'
  const bodies = ['{"name":"report.generate","params":{"year":2024}}', '', '{"ünïcödé":"🎉"}']
  const now = Date.now()
  const flip = (text: string, at: number, by: number): string => {
    if (text === '') return String.fromCharCode(33 + by)
    const index = at % text.length
    const code = 32 + ((text.charCodeAt(index) - 32 + 1 + (by % 93) + 94) % 94)
    return text.slice(0, index) + String.fromCharCode(code) + text.slice(index + 1)
  }
  const cut = (text: string, at: number): string => {
    const index = at % (text.length + 1)
    return text.slice(0, index) + text.slice(index + 1)
  }
  const lengthen = (text: string, at: number, by: number): string => {
    const index = at % (text.length + 1)
    return text.slice(0, index) + String.fromCharCode(33 + (by % 94)) + text.slice(index)
  }
  const swap = (text: string, at: number): string => {
    if (text.length < 2) return text
    const index = at % (text.length - 1)
    return text.slice(0, index) + text[index + 1] + text[index] + text.slice(index + 2)
  }
  const edits = [flip, cut, lengthen, swap]
  const parts = ['id', 'timestamp', 'signature', 'method', 'target', 'key', 'body', 'time', 'other'] as const
  let tried = 0
  fc.assert(
    fc.property(
      fc.constantFrom(...bodies),
      fc.constantFrom(...parts),
      fc.constantFrom(...edits),
      fc.nat(10_000),
      fc.nat(10_000),
      fc.boolean(),
      (text, part, edit, at, by, keyed) => {
        const key = keyed ? { idempotencyKey: 'order-17' } : {}
        const headers = sign(KEYS, { body: text, request: { method: 'POST', target, ...key } }, { now })
        const sent = {
          id: headers['webhook-id'],
          timestamp: headers['webhook-timestamp'],
          signature: headers['webhook-signature'],
          method: 'POST',
          target,
          key: key.idempotencyKey ?? '',
          body: text,
        }
        const original = JSON.stringify(sent)
        let clock = now
        // As if it were kept and sent too late, or signed by the same id and time for something else.
        if (part === 'time') clock += (at % 2 === 0 ? 1 : -1) * (TOLERANCE_MS + 1_000 + by)
        else if (part === 'other') {
          const other = sign(
            KEYS,
            { body: `${text}${by}`, request: { method: 'POST', target, ...key } },
            { id: sent.id, now },
          )
          sent.signature = other['webhook-signature']
        } else sent[part] = edit(sent[part], at, by)
        // Two equal neighbours that are exchanged leave it as it was.
        if (part !== 'time' && JSON.stringify(sent) === original) return
        tried++
        const header = (name: string): string =>
          ({ 'webhook-id': sent.id, 'webhook-timestamp': sent.timestamp })[name] ?? sent.signature
        const request = {
          method: sent.method,
          target: sent.target,
          ...(sent.key === '' ? {} : { idempotencyKey: sent.key }),
        }
        expect(() => verify(KEYS, header, { body: sent.body, request }, clock)).toThrow()
      },
    ),
    { numRuns: 110_000 },
  )
  expect(tried).toBeGreaterThan(100_000)
})

test('mutated requests at the handler: whatever gets through is what was signed', async () => {
  for (const change of [
    (r: Request) => new Request(`${BASE}/tasks?x`, r),
    (r: Request) => new Request(`${BASE}/invalidations`, r),
    (r: Request) => new Request(`http://there.test/tasks`, r),
    (r: Request) =>
      new Request(r, { headers: { ...Object.fromEntries(r.headers), 'idempotency-key': 'mine' } }),
    (r: Request) =>
      new Request(r.url, { method: 'POST', headers: r.headers, body: '{"name":"report.generate"}' }),
    (r: Request) => new Request(r.url, { method: 'DELETE', headers: r.headers }),
  ]) {
    const response = await scene.handler(change(signedRequest('POST', `${BASE}/tasks`, body)))
    expect([401, 405]).toContain(response.status)
  }
  expect((await scene.deferq.list()).receipts).toEqual([])
})

describe("auth: 'local-only'", () => {
  test('answers this machine, and neither proxies, browsers, other hosts nor peers that are not known', async () => {
    const local = setScene({ auth: 'local-only' })
    const { url, close } = await served(listenerOf(local.handler))
    try {
      const post = (headers: Record<string, string> = {}): Promise<Response> =>
        fetch(`${url}/tasks`, {
          method: 'POST',
          body: JSON.stringify(body),
          headers: { 'content-type': 'application/json', ...headers },
        })
      expect((await post()).status).toBe(202)
      const proxied: Record<string, string>[] = [
        { 'x-forwarded-for': '10.1.1.1' },
        { forwarded: 'for=10.1.1.1' },
      ]
      for (const headers of [...proxied, { origin: 'http://evil.test' }]) {
        expect(await reasonOf(await post(headers))).toEqual([401, 'INVALID_SIGNATURE', 'not_local'])
      }
      const request = new Request(`${url}/tasks`, { method: 'POST', body: JSON.stringify(body) })
      expect(await reasonOf(await local.handler(request))).toEqual([401, 'INVALID_SIGNATURE', 'not_local'])
      const call = (peer: string, host: string) => ({
        method: 'GET',
        target: '/openapi.json',
        header: (name: string) => (name === 'host' ? host : undefined),
        body: async () => new Uint8Array(),
        signal: new AbortController().signal,
        peer,
      })
      for (const [peer, host, status] of [
        ['127.0.0.1', 'localhost:80', 200],
        ['::1', '[::1]:80', 200],
        ['::ffff:127.0.0.1', '127.0.0.1', 200],
        ['10.0.0.1', 'localhost', 401],
        ['127.0.0.1', 'rebound.test', 401],
        ['127.0.0.1', '127.evil.test', 401],
        ['127.0.0.1', '10.0.0.1', 401],
      ] as const) {
        expect([peer, host, (await local.handler.answer(call(peer, host))).status]).toEqual([
          peer,
          host,
          status,
        ])
      }
    } finally {
      await close()
      await local.close()
    }
  })
})
