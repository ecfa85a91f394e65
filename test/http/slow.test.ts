// Clients that take their time: a body that never ends, and a stream on which nothing happens for long.
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { toNodeListener } from '../../src/http/index.ts'
import type { Scene } from './scene.ts'
import { BASE, jsonOf, served, setScene, signedRequest } from './scene.ts'

let scene: Scene
beforeEach(() => {
  scene = setScene()
  // The clock of the timers alone: what is signed is signed now.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(async () => {
  vi.useRealTimers()
  await scene.close()
})

/** Real time, for what goes on in sockets and streams. */
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('a body that does not arrive is 408, and nothing is dispatched', async () => {
  const { headers } = signedRequest('POST', `${BASE}/tasks`, '{"name":"report.generate"}')
  let cancelled = false
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new TextEncoder().encode('{"name":')),
    cancel: () => {
      cancelled = true
    },
  })
  const asked = scene.handler(
    new Request(`${BASE}/tasks`, { method: 'POST', headers, body, duplex: 'half' } as RequestInit),
  )
  await turns()
  vi.advanceTimersByTime(29_999)
  await turns()
  expect(cancelled).toBe(false)
  vi.advanceTimersByTime(1)
  const response = await asked
  expect(response.status).toBe(408)
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  expect(await jsonOf(response)).toMatchObject({ status: 408, detail: expect.stringMatching(/30 seconds/) })
  expect(cancelled).toBe(true)
  expect((await scene.deferq.list({ name: 'report.generate' })).receipts).toEqual([])
})

test('the same through node, which hangs up after it has answered', async () => {
  const server = await served(toNodeListener(scene.handler))
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  let got = ''
  socket.setEncoding('utf8').on('data', (text) => {
    got += text
  })
  const { headers } = signedRequest('POST', `${BASE}/tasks`, '{"name":"report.generate"}')
  const lines = [...headers].map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.write(`POST /deferq/tasks HTTP/1.1\r\nhost: there\r\ncontent-length: 26\r\n${lines}\r\n{"name":`)
  await vi.waitFor(() => expect(vi.getTimerCount()).toBeGreaterThan(0))
  const ended = once(socket, 'end')
  vi.advanceTimersByTime(30_000)
  await ended
  expect(got).toMatch(/^HTTP\/1\.1 408 /)
  expect(got).toMatch(/connection: close/i)
  await server.close()
})

test('a stream of events says every fifteen seconds that it is still there', async () => {
  const { taskId } = await scene.deferq.dispatch('report.generate', { year: 1 }, { delay: '1h' })
  const response = await scene.ask('GET', `/tasks/${taskId}/events`)
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  const next = async (): Promise<string> => new TextDecoder().decode((await reader.read()).value)
  expect(await next()).toMatch(/^id: .*\nevent: status\n/)
  for (let beat = 0; beat < 3; beat++) {
    const told = next()
    await turns()
    vi.advanceTimersByTime(15_000)
    expect(await told).toBe(': still here\n\n')
  }
  await scene.deferq.cancel(taskId)
  let last = await next()
  if (last.startsWith(':')) last = await next()
  expect(last).toMatch(/"status":"cancelled"/)
  expect((await reader.read()).done).toBe(true)
})
