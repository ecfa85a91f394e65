// The client: the same facade over the interface, and an interface that is away or unwell.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DEFAULT_LOGGER } from '../../src/base/log.ts'
import { Client } from '../../src/client/client.ts'
import { eventually } from '../../src/conformance/scene.ts'
import { createClient } from '../../src/http/index.ts'
import { DeferQ, task } from '../../src/index.ts'
import type { report, Scene } from './scene.ts'
import { listenerOf, SECRET, served, setScene } from './scene.ts'

const slow = task('slow', {
  retries: 0,
  run: async (_params: object, { signal }) =>
    new Promise<string>((resolve, reject) => {
      setTimeout(() => resolve('at last'), 300)
      signal.addEventListener('abort', () => reject(signal.reason))
    }),
})
const dated = task('dated', {
  run: async (params: { at: Date; tags: Set<string> }) => ({ ...params, big: 2n ** 70n }),
})
const scoped = task('scoped', {
  scope: true,
  ignore: ['trace'],
  run: async (params: { a: number; trace?: string }) => params.a,
})

describe('the facade', () => {
  let scene: Scene
  let server: Awaited<ReturnType<typeof served>>
  let client: ReturnType<typeof createClient<[typeof report, typeof slow, typeof dated, typeof scoped]>>
  beforeAll(async () => {
    scene = setScene({ aliases: { yearly: 'report.generate' } }, [slow, dated, scoped])
    server = await served(listenerOf(scene.handler))
    client = createClient({ url: `${server.url}/some/where/`, secret: SECRET })
    await scene.work()
  })
  afterAll(async () => {
    await client.close()
    await server.close()
    await scene.close()
  })

  test('runs, dispatches, reads and waits, with types and values whole', async () => {
    const made = await client.run('report.generate', { year: 2024 })
    expect(made.rows).toBe(3)
    const again = await client.dispatch('report.generate', { year: 2024 })
    expect(again.outcome).toBe('hit')
    expect(await client.getResult(again.taskId)).toEqual(made)
    expect((await client.getStatus(again.taskId)).finishedAt).toBeInstanceOf(Date)
    const params = { at: new Date(7), tags: new Set(['a']) }
    expect(await client.run('dated', params)).toEqual({ ...params, big: 2n ** 70n })
  })

  test('the definitions of the other side hold: the key, its scope, the time a result is good for', async () => {
    const there = await scene.deferq.dispatch('scoped', { a: 1, trace: 'x' }, { scope: 7 })
    const here = await client.dispatch('scoped', { a: 1, trace: 'y' }, { scope: 7 })
    expect(here.taskId).toBe(there.taskId)
    expect((await client.dispatch('scoped', { a: 1 }, { scope: 8 })).taskId).not.toBe(there.taskId)
    await expect(client.dispatch('scoped', { a: 1 }, undefined as never)).rejects.toMatchObject({
      code: 'SCOPE_REQUIRED',
    })
    await client.result(here.taskId)
    expect(await client.invalidate('scoped', { a: 1, trace: 'z' }, { scope: 7 })).toBe(1)
    const loose = client as unknown as DeferQ
    const { taskId } = await loose.dispatch('yearly', { year: 2030 }, { idempotencyKey: 'k' })
    expect(taskId).toBe(
      (await scene.deferq.dispatch('report.generate', { year: 2030 }, { idempotencyKey: 'k' })).taskId,
    )
  })

  test('many at once, of which one is refused for itself', async () => {
    const loose = client as unknown as DeferQ
    const answers = await Promise.allSettled([
      loose.dispatch('report.generate', { year: 1 }),
      loose.dispatch('hidden.task', {}),
      loose
        .dispatch('report.generate', { year: 2 }, { group: 'x' } as never)
        .catch(() => loose.dispatch('report.generate', { year: 2 })),
    ])
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect((answers[1] as PromiseRejectedResult).reason).toMatchObject({ code: 'UNKNOWN_TASK' })
    const many = await client.dispatchMany(
      Array.from({ length: 300 }, (_, year) => ({ name: 'report.generate' as const, params: { year } })),
    )
    expect(new Set(many.map(({ taskId }) => taskId)).size).toBe(300)
  })

  test('hears of an end well before it would look again', async () => {
    const begun = performance.now()
    expect(await client.run('slow', {}, { refresh: true })).toBe('at last')
    expect(performance.now() - begun).toBeLessThan(1_000)
  })

  test('callbacks: tasks there, functions here', async () => {
    const told: unknown[] = []
    const { taskId } = await client.dispatch(
      'slow',
      { of: 'callbacks' },
      { callback: [{ name: 'yearly', params: { year: 1 } }, (receipt) => told.push(receipt.status)] },
    )
    await client.result(taskId)
    await eventually('the function here is called', () => told.length === 1)
    expect(told).toEqual(['completed'])
  })

  test('cancels, retries, lists and counts what it may see', async () => {
    const hidden = await scene.deferq.dispatch('hidden.task', { x: 1 })
    const { taskId } = await client.dispatch('slow', { of: 'cancelling' }, { delay: '1h' })
    expect(await client.cancel(taskId, 'no more')).toBe('cancelled')
    expect(await client.cancel(hidden.taskId)).toBe('unknown')
    expect(await client.invalidate(hidden.taskId)).toBe(0)
    await expect(client.getResult(taskId)).rejects.toMatchObject({ code: 'TASK_CANCELLED' })
    const anew = await client.retry(taskId)
    expect(await client.result(anew.taskId)).toBe('at last')
    const { receipts } = await client.list()
    expect(receipts.map(({ name }) => name)).not.toContain('hidden.task')
    expect((await client.list({ name: 'slow' })).receipts.length).toBeGreaterThan(0)
    expect((await client.stats()).totals.created).toBeGreaterThan(0)
  })

  test('batches', async () => {
    const items = [5_001, 5_002].map((year) => ({ name: 'report.generate' as const, params: { year } }))
    const { id, total } = await client.batch(items)
    expect(total).toBe(2)
    await eventually('both have ended', async () => (await client.getBatch(id)).completed === 2)
  })

  test('what makes no sense from afar is said so', async () => {
    expect(() => new DeferQ({ url: server.url, defaults: { retries: 1 } })).toThrow(/defaults/)
    expect(() => new DeferQ({ url: 'memory:', secret: SECRET })).toThrow(/secret/)
    expect(() => new DeferQ({ url: server.url, secret: 'short' })).toThrow(/too short/)
    const engine = await client.open()
    await expect(engine.claim({ names: ['slow'], limit: 1, leaseMs: 1_000 })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    })
    await expect(
      new DeferQ({ url: server.url, secret: 'the secret of somebody else, really' }).open(),
    ).rejects.toMatchObject({
      code: 'INVALID_SIGNATURE',
    })
  })
})

const clientAt = (url: string, timeoutMs = 10_000): Client =>
  new Client({
    url,
    secret: SECRET,
    timeoutMs,
    tasks: undefined,
    defaults: {},
    limits: undefined,
    logger: DEFAULT_LOGGER,
  })

describe('an interface that is away or unwell', () => {
  test('fails fast', async () => {
    const { url, close } = await served(() => {})
    await close()
    const client = new DeferQ({ url, secret: SECRET })
    const begun = performance.now()
    await expect(client.dispatch('report.generate', {})).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(performance.now() - begun).toBeLessThan(5_000)
    await client.close()
  })

  test('one that never answers is given up', async () => {
    const { url, close } = await served(() => {})
    const client = clientAt(url, 300)
    await expect(client.read([])).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringMatching(/300 ms/),
    })
    await client.close()
    await close()
  })

  test('what was lost on the way is sent again, signed anew, and dispatched once', async () => {
    const scene = setScene()
    const listener = listenerOf(scene.handler)
    const ids: unknown[] = []
    let count = 0
    const server = createServer((request, response) => {
      ids.push(request.headers['webhook-id'])
      count++
      // First the answer is lost, then the request; then it is unwell; then all is well.
      if (count === 1) response.end = () => response.destroy() as never
      if (count === 2) return void request.socket.destroy()
      if (count === 3) return void response.writeHead(503).end('<html>')
      listener(request, response)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const client = new DeferQ({ url, secret: SECRET })
    const { outcome } = await client.dispatch('report.generate', { year: 1 })
    expect([outcome, count, new Set(ids).size]).toEqual(['created', 4, 4])
    expect((await scene.deferq.stats()).lanes.filter(({ name }) => name === 'report.generate')).toMatchObject(
      [{ pending: 1 }],
    )
    await client.close()
    server.closeAllConnections()
    server.close()
    await scene.close()
  })

  test('something else at that path is said to be so', async () => {
    const { url, close } = await served((_request, response) => void response.writeHead(200).end('<html>'))
    await expect(clientAt(url).read([])).rejects.toMatchObject({
      message: expect.stringMatching(/no interface of deferq/),
    })
    await close()
  })
})
