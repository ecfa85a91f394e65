// The handler where applications mount it, over real sockets: node:http, Express, Fastify and Hono.

import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { serve } from '@hono/node-server'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../../src/conformance/scene.ts'
import { toNodeListener } from '../../src/http/index.ts'
import { DeferQ, task } from '../../src/index.ts'
import type { Scene } from './scene.ts'
import { jsonOf, listenerOf, SECRET, served, setScene, signedRequest } from './scene.ts'

const never = task('never', {
  retries: 0,
  run: (_params: object, { signal }) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
})

let scene: Scene
const closing: (() => unknown)[] = []
beforeAll(async () => {
  scene = setScene({}, [never])
  await scene.work()
})
afterAll(async () => {
  for (const close of closing) await close()
  const { receipts } = await scene.deferq.list({ name: 'never' })
  for (const { taskId } of receipts) await scene.deferq.cancel(taskId)
  await scene.close()
})

async function onExpress(before: 'interface' | 'parser'): Promise<string> {
  const app = express()
  const mount = (): unknown => app.use('/deferq', toNodeListener(scene.handler))
  if (before === 'interface') mount()
  app.use(express.json())
  if (before === 'parser') mount()
  app.post('/own', (request, response) => void response.json(request.body))
  const { url, close } = await served(app)
  closing.push(close)
  return url
}

async function onFastify(hook: boolean): Promise<string> {
  const app = fastify({ forceCloseConnections: true })
  const listener = toNodeListener(scene.handler)
  await app.register((scope, _options, done) => {
    const answer = async (
      request: { raw: Parameters<typeof listener>[0] },
      reply: { hijack(): unknown; raw: Parameters<typeof listener>[1] },
    ) => {
      reply.hijack()
      await listener(request.raw, reply.raw)
    }
    if (hook) scope.addHook('onRequest', answer)
    scope.all('/deferq/*', hook ? async () => {} : answer)
    done()
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  closing.push(() => app.close())
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
}

async function onHono(): Promise<string> {
  const app = new Hono()
  app.all('/deferq/*', (context) => scene.handler(context.req.raw))
  const server = await new Promise<ReturnType<typeof serve>>((resolve) => {
    const made = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, () => resolve(made))
  })
  closing.push(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const PLACES: Record<string, () => Promise<string>> = {
  'node:http': async () => {
    const { url, close } = await served(listenerOf(scene.handler))
    closing.push(close)
    return url
  },
  express: () => onExpress('interface'),
  fastify: () => onFastify(true),
  hono: onHono,
}

describe.each(Object.keys(PLACES))('in %s', (place) => {
  let url: string
  beforeAll(async () => {
    url = `${await (PLACES[place] as () => Promise<string>)()}/deferq`
  })
  const year = Object.keys(PLACES).indexOf(place)

  test('a task is asked for, waited for, read and followed', async () => {
    const request = signedRequest(
      'POST',
      `${url}/tasks`,
      { name: 'report.generate', params: { year } },
      { prefer: 'wait=10' },
    )
    const made = await fetch(request)
    expect(made.status).toBe(200)
    const { taskId, result } = await jsonOf(made)
    expect(result).toEqual({ year, rows: 3 })
    expect(made.headers.get('location')).toBe(`/deferq/tasks/${taskId}`)
    const read = await fetch(signedRequest('GET', `${url}/tasks/${taskId}?a=b%20c`))
    const etag = read.headers.get('etag') as string
    await read.body?.cancel()
    expect(
      (await fetch(signedRequest('GET', `${url}/tasks/${taskId}`, undefined, { 'if-none-match': etag })))
        .status,
    ).toBe(304)
    const events = await fetch(signedRequest('GET', `${url}/tasks/${taskId}/events`))
    expect(await events.text()).toContain('event: status')
    expect((await fetch(signedRequest('GET', `${url}/tasks/nothing`))).status).toBe(404)
    expect((await fetch(`${url}/tasks`, { method: 'POST' })).status).toBe(401)
  })

  test('the client works', async () => {
    const client = new DeferQ({ url, secret: SECRET })
    expect(await client.run('report.generate', { year: 100 + year })).toEqual({ year: 100 + year, rows: 3 })
    await client.close()
  })

  test('a caller that leaves while it follows a run is let go of', async () => {
    const { taskId } = await scene.deferq.dispatch('never', { place })
    const leaving = new AbortController()
    const request = signedRequest('GET', `${url}/tasks/${taskId}/events`)
    const response = await fetch(request, { signal: leaving.signal })
    await (response.body as ReadableStream<Uint8Array>).getReader().read()
    const engine = await scene.deferq.open()
    const read = engine.read.bind(engine)
    let looked = 0
    engine.read = (ids, watch) => {
      if (ids.includes(taskId)) looked++
      return read(ids, watch)
    }
    leaving.abort()
    await new Promise((resolve) => setTimeout(resolve, 300))
    looked = 0
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    engine.read = read
    expect(looked).toBe(0)
  })
})

test('below a body parser it fails, and says how to mount it', async () => {
  for (const url of [await onExpress('parser'), await onFastify(false)]) {
    const response = await fetch(signedRequest('POST', `${url}/deferq/tasks`, { name: 'report.generate' }))
    expect(response.status).toBe(500)
    expect((await jsonOf(response)).detail).toMatch(/before any body parser/)
  }
})

describe('over a bare socket', () => {
  const talk = async (
    url: string,
  ): Promise<{ send(text: string): void; said(): string; ended(): boolean; leave(): void }> => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    let text = ''
    let over = false
    socket.on('data', (data) => {
      text += data
    })
    socket.on('close', () => {
      over = true
    })
    socket.on('error', () => {})
    await new Promise((resolve) => socket.once('connect', resolve))
    return {
      send: (line) => void socket.write(line),
      said: () => text,
      ended: () => over,
      leave: () => socket.destroy(),
    }
  }
  const head = (request: Request, more: string): string =>
    `${request.method} /tasks HTTP/1.1\r\nhost: x\r\n${[...request.headers].map(([name, value]) => `${name}: ${value}\r\n`).join('')}${more}\r\n`

  test('a body that is larger than announced limits is refused before it has come', async () => {
    const { url, close } = await served(listenerOf(scene.handler))
    const line = await talk(url)
    line.send(head(signedRequest('POST', `${url}/tasks`, {}), 'content-length: 9000000\r\n'))
    await eventually('it is refused', () => line.said().startsWith('HTTP/1.1 413'))
    await eventually('the connection is closed', line.ended)
    const chunked = await talk(url)
    chunked.send(head(signedRequest('POST', `${url}/tasks`, {}), 'transfer-encoding: chunked\r\n'))
    for (let sent = 0; sent < 5; sent++) chunked.send(`100000\r\n${'x'.repeat(0x100000)}\r\n`)
    await eventually('it is refused', () => chunked.said().startsWith('HTTP/1.1 413'))
    chunked.leave()
    await close()
  })

  test('a caller that drips its body in holds nobody up, and one that leaves in the middle harms nothing', async () => {
    const { url, close } = await served(listenerOf(scene.handler))
    const dripping = await talk(url)
    dripping.send(head(signedRequest('POST', `${url}/tasks`, {}), 'content-length: 100\r\n'))
    dripping.send('{')
    const other = await fetch(
      signedRequest('POST', `${url}/tasks`, { name: 'report.generate', params: { year: 9 } }),
    )
    expect(other.status).toBeLessThan(300)
    dripping.leave()
    expect((await fetch(signedRequest('GET', `${url}/tasks/7`))).status).toBe(404)
    await close()
  })

  test('a caller that leaves in mid-wait is no longer waited for', async () => {
    const { url, close } = await served(listenerOf(scene.handler))
    const request = signedRequest(
      'POST',
      `${url}/tasks`,
      { name: 'never', params: { wait: true } },
      { prefer: 'wait=25' },
    )
    const body = await request.clone().text()
    const line = await talk(url)
    line.send(`${head(request, `content-length: ${body.length}\r\n`)}${body}`)
    const engine = await scene.deferq.open()
    const read = engine.read.bind(engine)
    let looked = 0
    engine.read = (ids, watch) => {
      looked += ids.length
      return read(ids, watch)
    }
    await eventually('it is waited for', () => looked >= 2)
    line.leave()
    await new Promise((resolve) => setTimeout(resolve, 200))
    looked = 0
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    engine.read = read
    expect(looked).toBe(0)
    await close()
  })
})
