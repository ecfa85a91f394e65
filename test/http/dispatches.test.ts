// The routes for programs by raw requests: what is checked, what a repeated request does, and what no request can do.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { DeferQ, task } from '../../src/index.ts'
import type { Scene } from './scene.ts'
import { hiddenTask, jsonOf, listenerOf, SECRET, setScene } from './scene.ts'

const got: unknown[] = []
const values = task('values', {
  resultTtl: 0,
  run: (params: { at: Date; of: unknown }) => {
    got.push(params)
    return params
  },
})
const scoped = task('scoped', { scope: true, run: async (_params: object) => 1 })

let scene: Scene
beforeEach(() => {
  got.length = 0
  scene = setScene({ allow: ['values', 'scoped'], aliases: { yearly: 'report.generate' } }, [values, scoped])
})
afterEach(() => scene.close())

let counter = 0
const run = (): string => (++counter).toString(16).padStart(24, '0')
const item = (year: number, more: object = {}): object => ({
  name: 'yearly',
  params: { year },
  run: run(),
  ...more,
})
const post = async (path: string, body: object): Promise<[status: number, body: Record<string, unknown>]> => {
  const response = await scene.ask('POST', path, body)
  return [response.status, await jsonOf(response)]
}
const tasks = async (): Promise<string[]> =>
  (await scene.deferq.list({ limit: 1_000 })).receipts
    .map(({ name }) => name)
    .filter((name) => name !== 'deferq.request')

describe('POST /dispatches', () => {
  test('answers line up, and are of the same work as those from inside', async () => {
    const inside = await scene.deferq.dispatch('report.generate', { year: 2 })
    const items = [item(1), item(2), item(1)]
    const [status, { answers }] = await post('/dispatches', { items })
    expect(status).toBe(200)
    const runs = (answers as { outcome: string; run: { id: string; name: string } }[]).map(
      ({ outcome, run: { id, name } }) => ({ outcome, id, name }),
    )
    expect(runs.map(({ outcome }) => outcome)).toEqual(['created', 'joined', 'joined'])
    expect(runs[1]?.id).toBe(inside.taskId)
    expect(runs[2]?.id).toBe(runs[0]?.id)
    expect(runs[0]?.id).toMatch(new RegExp(`${(items[0] as { run: string }).run}$`))
    expect(JSON.stringify(answers)).not.toContain('report.generate')
  })

  test('one refused item refuses all, unless they are independent; a check admits none', async () => {
    const items = [item(1), item(2, { name: 'scoped' }), item(3)]
    const [status, problem] = await post('/dispatches', { items })
    expect([status, problem]).toEqual([422, expect.objectContaining({ code: 'SCOPE_REQUIRED', index: 1 })])
    expect(await tasks()).toEqual([])
    expect(await post('/dispatches', { items: [item(1)], check: true })).toEqual([200, { answers: [] }])
    expect(await tasks()).toEqual([])
    const [, { answers }] = await post('/dispatches', { items, independent: true })
    expect(answers).toMatchObject([
      { outcome: 'created' },
      { error: { code: 'SCOPE_REQUIRED', status: 422 } },
      { outcome: 'created' },
    ])
    expect(await tasks()).toEqual(['report.generate', 'report.generate'])
  })

  test('sent again it finds what it has made, whatever has become of it, and however many send it at once', async () => {
    const items = [item(1), item(2)]
    const first = await post('/dispatches', { items })
    const again = await Promise.all(Array.from({ length: 8 }, () => post('/dispatches', { items })))
    for (const each of again) expect(each).toEqual(first)
    const { answers } = first[1] as { answers: { run: { id: string } }[] }
    const id = answers[0]?.run.id as string
    await scene.deferq.cancel(id)
    const [, late] = await post('/dispatches', { items })
    expect(late.answers).toMatchObject([{ outcome: 'created', run: { id, status: 'cancelled' } }, {}])
    expect(await tasks()).toHaveLength(2)
    const totals = (await scene.deferq.stats()).totals
    const fresh = (await jsonOf(await scene.ask('POST', '/dispatches', { items: [item(1)] }))).answers
    expect(fresh).toMatchObject([{ outcome: 'created' }])
    expect((await scene.deferq.stats()).totals.joined).toBe(totals.joined)
  })

  test('no request plants a draft: members of one are refused, and so are names of the inside', async () => {
    const [status] = await post('/engine', { version: 1, verb: 'admit', drafts: [] })
    expect(status).toBe(404)
    for (const planted of [
      { id: 'ab'.repeat(44) },
      { policy: { maxAttempts: 1_000_000 } },
      { extra: '{}' },
      { then: [] },
      { queue: 'other' },
      { dueAt: 1 },
      { attended: { ms: 1, running: true } },
      { asked: {} },
    ]) {
      const answer = await post('/dispatches', { items: [item(1, planted)], independent: true })
      expect(answer[1].answers).toMatchObject([{ error: { code: 'INVALID_REQUEST', status: 422 } }])
    }
    for (const name of [hiddenTask.name, 'deferq.request', 'deferq.schedule', 'nothing', '__proto__', 7]) {
      const [code, problem] = await post('/dispatches', { items: [item(1, { name })] })
      expect([name, code, problem.code]).toEqual([name, 422, 'UNKNOWN_TASK'])
    }
    for (const bad of [undefined, '', 'x'.repeat(24), 'AB'.repeat(12), '0'.repeat(25), 7])
      expect((await post('/dispatches', { items: [item(1, { run: bad })] }))[0]).toBe(422)
    const options = [{ tx: 1 }, { signal: 1 }, { attempts: 1 }, { callback: hiddenTask.name }]
    for (const each of options)
      expect((await post('/dispatches', { items: [item(1, { options: each })] }))[0]).toBe(422)
    expect(await tasks()).toEqual([])
  })

  test('malformed lists, flags and items', async () => {
    for (const body of [
      {},
      { items: {} },
      { items: 'x' },
      { items: [], independent: 1 },
      { items: [], check: 'yes' },
      { items: [], more: 1 },
      { items: Array.from({ length: 1_001 }, (_, year) => item(year)) },
    ])
      expect([body, (await post('/dispatches', body))[0]]).toEqual([body, 422])
    for (const odd of [null, 7, [], 'x'])
      expect((await post('/dispatches', { items: [odd] }))[1]).toMatchObject({ status: 400, index: 0 })
    expect(await post('/dispatches', { items: [] })).toEqual([200, { answers: [] }])
  })
})

describe('params', () => {
  const at = { $deferq: ['Date', '1970-01-01T00:00:00.007Z'] }
  const of = { $deferq: ['Map', [[{ $deferq: ['BigInt', '0x1f'] }, { $deferq: ['Set', [1]] }]]] }

  test('tags stand for what JSON lacks, on every route that takes params', async () => {
    const params = { at: new Date(7), of: new Map([[31n, new Set([1])]]) }
    const { taskId } = await scene.deferq.dispatch('values', params)
    const body = { name: 'values', params: { at, of } }
    expect(await post('/tasks', body)).toMatchObject([202, { outcome: 'joined', taskId }])
    expect(await post('/dispatches', { items: [{ ...body, run: run() }] })).toMatchObject([
      200,
      { answers: [{ outcome: 'joined', run: { id: taskId } }] },
    ])
    expect(await post('/batches', { items: [body] })).toMatchObject([202, { taskIds: [taskId] }])
    await scene.work()
    await scene.deferq.result(taskId)
    expect(got[0]).toEqual(params)
    const [, read] = await post('/reads', { ids: [taskId, taskId.slice(0, 64), 'ab'.repeat(44)] })
    const [shown, standing, none] = read.runs as { result: string; params?: string }[]
    expect(JSON.parse(shown?.result ?? '')).toEqual({ at, of })
    expect([standing, none]).toEqual([shown, null])
    expect(shown?.params).toBeUndefined()
    const callback = { name: 'values', params: { at, of: 1 } }
    await post('/tasks', { name: 'yearly', params: { year: 1 }, options: { callback } })
    await expect.poll(() => got.length).toBe(2)
    expect(got[1]).toEqual({ at: new Date(7), of: 1 })
  })

  test('forgotten by the value that a tag stands for', async () => {
    const kept = setScene({}, [task('kept', { run: async (_params: { at: Date }) => 1 })])
    onTestFinished(() => kept.close())
    await kept.work()
    await kept.deferq.run('kept', { at: new Date(7) })
    const body = { name: 'kept', params: { at } }
    expect(await jsonOf(await kept.ask('POST', '/invalidations', body))).toEqual({ invalidated: 1 })
  })

  test('a wrong tag is refused with its path', async () => {
    for (const wrong of [
      { $deferq: 5 },
      { $deferq: ['Date', 'soon'] },
      { $deferq: ['Function', 'x'] },
      { $deferq: ['Set', [1, 1]] },
      { $deferq: ['Date', '1970-01-01T00:00:00.007Z'], more: 1 },
    ]) {
      const params = { good: at, list: [wrong] }
      const [status, problem] = await post('/tasks', { name: 'values', params })
      expect([status, problem]).toEqual([
        422,
        expect.objectContaining({
          code: 'UNHASHABLE_PARAMS',
          path: expect.stringMatching(/^params\.list\[0\]/),
        }),
      ])
    }
  })
})

test('a run in the way is 409, with its id and how it stands', async () => {
  const { taskId } = await scene.deferq.dispatch('report.generate', { year: 1 })
  const options = { onDuplicate: { pending: 'reject' } }
  const refusal = { status: 409, code: 'DUPLICATE', taskId, runStatus: 'pending' }
  expect(await post('/tasks', { name: 'yearly', params: { year: 1 }, options })).toMatchObject([409, refusal])
  const [status, { answers }] = await post('/dispatches', { items: [item(1, { options })] })
  expect([status, answers]).toMatchObject([200, [{ error: refusal }]])
  expect(JSON.stringify(answers)).not.toContain('report.generate')
})

describe('the other routes', () => {
  test('retries: sent again they make one run', async () => {
    const { taskId } = await scene.deferq.dispatch('report.generate', { year: 1 })
    const items = [
      { id: taskId, run: run() },
      { id: 'ab'.repeat(44), run: run() },
    ]
    expect((await post('/retries', { items }))[1].answers).toMatchObject([
      { error: { code: 'NOT_FINISHED' } },
      { error: { code: 'TASK_NOT_FOUND' } },
    ])
    await scene.deferq.cancel(taskId)
    const first = await post('/retries', { items: items.slice(0, 1) })
    expect(first[1].answers).toMatchObject([{ outcome: 'created', run: { name: 'yearly' } }])
    expect(await post('/retries', { items: items.slice(0, 1) })).toEqual(first)
    expect(await tasks()).toHaveLength(2)
  })

  test('waits are held no longer than the server allows, and answer what has ended by then', async () => {
    const brief = setScene({ maxWait: 50 })
    onTestFinished(() => brief.close())
    const { taskId } = await brief.deferq.dispatch('report.generate', { year: 1 })
    const begun = performance.now()
    expect(await jsonOf(await brief.ask('POST', '/waits', { ids: [taskId] }))).toEqual({ ended: [] })
    expect(performance.now() - begun).toBeLessThan(2_000)
    await brief.deferq.cancel(taskId)
    const { ended } = await jsonOf(await brief.ask('POST', '/waits', { ids: [taskId, 'ab'.repeat(44)] }))
    expect(ended).toMatchObject([{ id: taskId, run: { status: 'cancelled' } }, { id: 'ab'.repeat(44) }])
  })

  test('malformed ids, filters and members', async () => {
    for (const path of ['/reads', '/waits', '/cancellations', '/promotions']) {
      expect((await post(path, { ids: ['7'] }))[0]).toBe(404)
      expect((await post(path, { ids: 'x' }))[0]).toBe(422)
      expect((await post(path, { ids: Array(1_001).fill('ab'.repeat(44)) }))[0]).toBe(422)
      expect((await post(path, { ids: [], more: 1 }))[0]).toBe(422)
      expect((await scene.ask('GET', path)).status).toBe(405)
    }
    expect((await post('/waits', { ids: ['ab'.repeat(32)] }))[0]).toBe(404)
    expect((await post('/cancellations', { ids: [], reason: 7 }))[0]).toBe(422)
    expect((await post('/promotions', { ids: [], priority: 101 }))[0]).toBe(422)
    for (const query of ['status=odd', 'name=hidden.task', 'limit=0', 'limit=1001', 'limit=x', 'more=1'])
      expect([query, (await scene.ask('GET', `/runs?${query}`)).status]).toEqual([query, 422])
    expect((await scene.ask('GET', '/stats')).status).toBe(200)
    expect((await scene.ask('POST', '/stats', {})).status).toBe(405)
  })
})

test('an answer that is lost is asked for again: each verb is done once', async () => {
  const listener = listenerOf(scene.handler)
  let lose = false
  const lost: (string | undefined)[] = []
  const server = createServer((request, response) => {
    if (lose) {
      lost.push(request.url)
      response.end = () => response.destroy() as never
    }
    lose = false
    listener(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/deferq`
  const client = new DeferQ({ url, secret: SECRET })
  onTestFinished(async () => {
    await client.close()
    server.closeAllConnections()
    server.close()
  })
  const losing = <T>(ask: () => Promise<T>): Promise<T> => {
    lose = true
    return ask()
  }
  const many = await losing(() =>
    client.dispatchMany([1, 2, 1].map((year) => ({ name: 'yearly', params: { year } }))),
  )
  expect(many.map(({ outcome }) => outcome)).toEqual(['created', 'created', 'joined'])
  const { taskId } = await losing(() => client.dispatch('yearly', { year: 3 }, { delay: '1h' }))
  expect(await losing(() => client.hasten(taskId))).toBe('due')
  expect(await losing(() => client.cancel(taskId))).toBe('cancelled')
  const again = await losing(() => client.retry(taskId))
  expect(again.outcome).toBe('created')
  expect((await losing(() => client.list({ name: 'yearly' }))).receipts).toHaveLength(4)
  expect(await tasks()).toHaveLength(4)
  expect(lost).toEqual([
    '/deferq/dispatches',
    '/deferq/dispatches',
    '/deferq/promotions',
    '/deferq/cancellations',
    '/deferq/retries',
    '/deferq/runs?name=yearly',
  ])
})
