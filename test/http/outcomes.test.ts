// Every outcome of a dispatch, an end and a look at runs through the client: as over the store, in the words of the outside.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { eventually } from '../../src/conformance/scene.ts'
import type { Receipt } from '../../src/index.ts'
import { DeferQ, DeferqError, task } from '../../src/index.ts'
import type { Scene } from './scene.ts'
import { hiddenTask, listenerOf, SECRET, served, setScene } from './scene.ts'

const ran: unknown[] = []
/** The held runs by id; each is let go by its function. */
const holding = new Map<string, () => void>()
const quote = task('quote', {
  resultTtl: '10s',
  staleTtl: '10s',
  failureTtl: '10s',
  retries: 0,
  run: ({ of }: { of: string }) => {
    ran.push(of)
    if (of === 'nothing') throw new DeferqError('REQUEST_FAILED', 'No quote.', { details: { of } })
    return { of, at: new Date(7), big: 2n ** 70n, tags: new Set(['a']), by: new Map([[1, 'x']]) }
  },
})
const held = task('held', {
  retries: 0,
  resultTtl: 0,
  run: async (params: object, { signal, id }) => {
    await new Promise<void>((resolve, reject) => {
      holding.set(id, resolve)
      signal.addEventListener('abort', () => reject(signal.reason))
    })
    return params
  },
})
const after = task('after', {
  run: (params: object, { parent }) => {
    ran.push({ ...params, of: parent?.status })
  },
})
const keyed = task('keyed', {
  key: ({ id }: { id: number }) => id,
  onMismatch: 'reject',
  run: ({ id }: { id: number; note: string }) => id,
})

let now = 1_750_000_000_000
let scene: Scene
let server: Awaited<ReturnType<typeof served>>
let client: DeferQ
let requests: string[]
beforeEach(async () => {
  ran.length = 0
  requests = []
  scene = setScene(
    { allow: ['held', 'after', 'keyed'], aliases: { price: 'quote' } },
    [quote, held, after, keyed],
    () => now,
  )
  const listener = listenerOf(scene.handler)
  server = await served((request, response) => {
    requests.push(`${request.method} ${request.url}`)
    listener(request, response)
  })
  client = new DeferQ({ url: server.url, secret: SECRET })
})
afterEach(async () => {
  for (const letGo of holding.values()) letGo()
  holding.clear()
  await client.close()
  await server.close()
  await scene.close()
})

const isRunning = (taskId: string): Promise<void> => eventually('it runs', () => holding.has(taskId))

describe('dispatch', () => {
  test('created, joined, hit, stale with its refresh, and too old', async () => {
    const made = await client.dispatch('price', { of: 'tea' })
    expect(made).toMatchObject({ outcome: 'created', sameParams: true, name: 'price', status: 'pending' })
    expect(await client.dispatch('price', { of: 'tea' })).toMatchObject({
      outcome: 'joined',
      taskId: made.taskId,
    })
    await scene.work()
    const result = await client.result(made.taskId)
    expect(result).toEqual({
      of: 'tea',
      at: new Date(7),
      big: 2n ** 70n,
      tags: new Set(['a']),
      by: new Map([[1, 'x']]),
    })
    const hit = await client.dispatch('price', { of: 'tea' })
    expect(hit).toMatchObject({ outcome: 'hit', taskId: made.taskId, result })
    now += 11_000
    const stale = await client.dispatch('price', { of: 'tea' })
    expect(stale).toMatchObject({ outcome: 'stale', taskId: made.taskId, result })
    await client.result(stale.refreshId as string)
    expect((await client.dispatch('price', { of: 'tea' })).taskId).toBe(stale.refreshId)
    now += 21_000
    expect((await client.dispatch('price', { of: 'tea' })).outcome).toBe('created')
  })

  test('a failure is answered for as long as it is remembered, and refresh runs again', async () => {
    await scene.work()
    const failed = await client.dispatch('price', { of: 'nothing' })
    await expect(client.result(failed.taskId)).rejects.toMatchObject({ code: 'TASK_FAILED' })
    const negative = await client.dispatch('price', { of: 'nothing' })
    expect(negative).toMatchObject({ outcome: 'negative', status: 'failed', taskId: failed.taskId })
    await expect(client.run('price', { of: 'nothing' })).rejects.toMatchObject({ code: 'TASK_FAILED' })
    expect(ran).toEqual(['nothing'])
    const again = await client.dispatch('price', { of: 'nothing' }, { refresh: true })
    expect(again.outcome).toBe('created')
    now += 11_000
    await client.result(again.taskId).catch(() => {})
    expect(ran).toEqual(['nothing', 'nothing'])
  })

  test('rejected: a run in the way, and other params under a key', async () => {
    const { taskId } = await client.dispatch('held', { a: 1 })
    await expect(
      client.dispatch('held', { a: 1 }, { onDuplicate: { pending: 'reject' } }),
    ).rejects.toMatchObject({ code: 'DUPLICATE', details: { taskId, status: 'pending' } })
    await client.dispatch('held', { a: 2 }, { idempotencyKey: 'k' })
    const mismatch = { idempotencyKey: 'k', onMismatch: 'reject' as const }
    await expect(client.dispatch('held', { a: 3 }, mismatch)).rejects.toMatchObject({
      code: 'PARAMS_MISMATCH',
    })
    expect((await client.dispatch('held', { a: 3 }, { idempotencyKey: 'k' })).sameParams).toBe(false)
    // By the definition of the other side, which the client does not know.
    const kept = await client.dispatch('keyed', { id: 1, note: 'x' })
    await expect(client.dispatch('keyed', { id: 1, note: 'y' })).rejects.toMatchObject({
      code: 'PARAMS_MISMATCH',
      details: { taskId: kept.taskId },
    })
  })

  test('options travel: priority, delay, moment, queue, trace, attempts and lifetimes', async () => {
    const runAt = new Date(now + 60_000)
    const { taskId } = await client.dispatch(
      'held',
      {},
      { priority: 3, runAt, queue: 'slow', traceId: 't-1' },
    )
    expect(await client.getStatus(taskId)).toMatchObject({
      priority: 3,
      queue: 'slow',
      dueAt: runAt,
      traceId: 't-1',
    })
    const joined = await client.dispatch('held', {}, { priority: 5, delay: '10s' })
    expect(joined).toMatchObject({ outcome: 'joined', priority: 5, dueAt: new Date(now + 10_000) })
    const engine = await scene.deferq.open()
    const policy = {
      retries: 4,
      resultTtl: '2s',
      staleTtl: '3s',
      failureTtl: '4s',
      retention: '50s',
    } as const
    const other = await client.dispatch('held', { b: 1 }, { ...policy, timeout: '7s', backoff: [1, 2] })
    const [entry] = await engine.read([other.taskId])
    expect(entry?.policy).toEqual({
      maxAttempts: 5,
      resultTtlMs: 2_000,
      staleTtlMs: 3_000,
      failureTtlMs: 4_000,
      retentionMs: 50_000,
    })
    expect(JSON.parse(entry?.extra ?? '')).toMatchObject({ timeoutMs: 7_000, backoff: [1, 2] })
  })

  test('duplicates: replaced, superseded, run after, put off and at most so often', async () => {
    const first = await client.dispatch('held', { a: 1 }, { idempotencyKey: 'one', delay: '1h' })
    const replaced = await client.dispatch(
      'held',
      { a: 2 },
      { idempotencyKey: 'one', onDuplicate: { pending: 'replace' } },
    )
    expect(replaced).toMatchObject({ outcome: 'joined', taskId: first.taskId })
    await scene.work()
    await isRunning(first.taskId)
    const next = await client.dispatch(
      'held',
      { a: 3 },
      { idempotencyKey: 'one', onDuplicate: { running: 'rerunAfter' } },
    )
    expect(next.outcome).toBe('created')
    holding.get(first.taskId)?.()
    expect(await client.result(first.taskId)).toEqual({ a: 2 })
    await isRunning(next.taskId)
    const last = await client.dispatch(
      'held',
      { a: 4 },
      { idempotencyKey: 'one', onDuplicate: { running: 'supersede' } },
    )
    await expect(client.result(next.taskId)).rejects.toMatchObject({
      code: 'TASK_CANCELLED',
      cause: { code: 'SUPERSEDED' },
    })
    expect((await client.dispatch('held', { a: 4 }, { idempotencyKey: 'one' })).taskId).toBe(last.taskId)
    const wait = { debounce: { wait: '30s' as const } }
    const put = await client.dispatch('after', { a: 1 }, { idempotencyKey: 'two', ...wait })
    now += 1_000
    const off = await client.dispatch('after', { a: 2 }, { idempotencyKey: 'two', ...wait })
    expect(off).toMatchObject({ taskId: put.taskId, dueAt: new Date(now + 30_000) })
    const throttle = { throttle: { every: '1h' as const }, resultTtl: 0 }
    const once = await client.dispatch('price', { of: 'x' }, throttle)
    await client.result(once.taskId)
    expect(await client.dispatch('price', { of: 'x' }, throttle)).toMatchObject({
      outcome: 'hit',
      taskId: once.taskId,
    })
  })

  test('callbacks by name: on success and failure, in a chain, with params whole', async () => {
    const at = new Date(5)
    const { taskId } = await client.dispatch(
      'price',
      { of: 'milk' },
      {
        callback: [
          { name: 'after', params: { at, big: 7n } },
          { name: 'after', params: { n: 2 }, on: 'both' },
          { name: 'after', params: { n: 3 }, on: 'failure' },
        ],
      },
    )
    await scene.work()
    await client.result(taskId)
    await eventually('both have run', () => ran.length === 3)
    expect(ran.slice(1)).toEqual([
      { at, big: 7n, of: 'completed' },
      { n: 2, of: 'completed' },
    ])
    await expect(client.dispatch('price', { of: 'x' }, { callback: 'hidden.task' })).rejects.toMatchObject({
      code: 'UNKNOWN_TASK',
    })
  })

  test('many callers of one tick: one request, and one run', async () => {
    const all = await Promise.all(Array.from({ length: 200 }, () => client.dispatch('price', { of: 'rush' })))
    expect(new Set(all.map(({ taskId }) => taskId)).size).toBe(1)
    expect(all.filter(({ outcome }) => outcome === 'created')).toHaveLength(1)
    expect(requests).toEqual(['POST /dispatches'])
    const different = await Promise.all(
      Array.from({ length: 40 }, (_, priority) => client.dispatch('held', { x: 1 }, { priority })),
    )
    expect(different[39]).toMatchObject({ priority: 39, outcome: 'joined' })
  })

  test('what this side refuses is not sent; a transaction of the caller’s is refused', async () => {
    const refused = {
      INVALID_OPTION: [
        { priority: 1_000 },
        { delay: 'soon' },
        { nothing: 1 },
        { backoff: () => 1 },
        { tx: { query: () => {} } },
      ],
      ABORTED: [{ signal: AbortSignal.abort() }],
    }
    for (const [code, all] of Object.entries(refused))
      for (const options of all) {
        await expect(client.dispatch('held', {}, options as never)).rejects.toMatchObject({ code })
        await expect(
          client.dispatchMany([{ name: 'held', params: {}, options: options as never }]),
        ).rejects.toMatchObject({ code, message: expect.stringContaining('dispatchMany()[0]') })
      }
    await expect(client.dispatch('held', { f: () => 1 })).rejects.toMatchObject({ code: 'UNHASHABLE_PARAMS' })
    expect(requests).toEqual([])
    for (const options of [{ rules: { a: { eq: 1 } } }, { meta: { a: 1 } }])
      await expect(client.dispatch('held', {}, options)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
  })
})

describe('dispatchMany', () => {
  test('lines up, over several requests, the same work within it in turn', async () => {
    const items = Array.from({ length: 2_300 }, (_, index) => ({
      name: 'held',
      params: { n: index % 2_200 },
    }))
    const all = await client.dispatchMany(items)
    expect(all.map(({ outcome }) => outcome)).toEqual(
      items.map((_, index) => (index < 2_200 ? 'created' : 'joined')),
    )
    expect(all.slice(2_200).map(({ taskId }) => taskId)).toEqual(
      all.slice(0, 100).map(({ taskId }) => taskId),
    )
    const params = { text: 'x'.repeat(400_000) }
    const large = await client.dispatchMany(
      [1, 2, 3].map((n) => ({ name: 'held', params: { ...params, n } })),
    )
    expect(large.map(({ outcome }) => outcome)).toEqual(['created', 'created', 'created'])
  })

  test('nothing is dispatched when the server refuses one, wherever it lies', async () => {
    for (const count of [3, 1_500]) {
      const items: Parameters<typeof client.dispatchMany>[0][number][] = Array.from(
        { length: count },
        (_, n) => ({ name: 'held', params: { n } }),
      )
      items[count - 1] = { name: 'hidden.task', params: {} }
      await expect(client.dispatchMany(items)).rejects.toMatchObject({
        code: 'UNKNOWN_TASK',
        message: expect.stringContaining(`dispatchMany()[${count - 1}]: `),
      })
    }
    expect((await client.list()).receipts).toEqual([])
  })

  test('callbacks that are functions are told of each; a rejected item is an error, and the others stand', async () => {
    const told: Receipt[] = []
    const callback = (receipt: Receipt): unknown => told.push(receipt)
    await scene.work()
    await client.dispatchMany(
      ['a', 'b'].map((of) => ({ name: 'price', params: { of }, options: { callback } })),
    )
    await eventually('both are told', () => told.length === 2)
    expect(told.map(({ name, status }) => [name, status])).toEqual([
      ['price', 'completed'],
      ['price', 'completed'],
    ])
    await client.dispatch('after', { x: 1 }, { delay: '1h' })
    const rejecting = { onDuplicate: { pending: 'reject' as const } }
    await expect(
      client.dispatchMany([
        { name: 'after', params: { x: 1 }, options: rejecting },
        { name: 'after', params: { x: 2 }, options: { delay: '1h' } },
      ]),
    ).rejects.toMatchObject({ code: 'DUPLICATE' })
    expect((await client.dispatch('after', { x: 2 })).outcome).toBe('joined')
  })
})

describe('runs', () => {
  test('cancelled: pending, running, ended and unknown; a hidden one is unknown', async () => {
    const pending = await client.dispatch('held', { a: 1 }, { delay: '1h' })
    expect(await client.cancel(pending.taskId, 'no more')).toBe('cancelled')
    await expect(client.getResult(pending.taskId)).rejects.toMatchObject({
      code: 'TASK_CANCELLED',
      message: expect.stringContaining('no more'),
    })
    expect((await client.dispatch('held', { a: 1 }, { delay: '1h' })).outcome).toBe('created')
    await scene.work()
    const running = await client.dispatch('held', { a: 2 })
    await isRunning(running.taskId)
    const waiting = client.result(running.taskId)
    expect(await client.cancel(running.taskId)).toBe('cancelled')
    await expect(waiting).rejects.toMatchObject({ code: 'TASK_CANCELLED' })
    await client.run('price', { of: 'tea' })
    const done = await client.dispatch('price', { of: 'tea' })
    expect(await client.cancel(done.taskId)).toBe('ended')
    expect(await client.cancel('ab'.repeat(44))).toBe('unknown')
    const hidden = await scene.deferq.dispatch('hidden.task', {}, { delay: '1h' })
    for (const answer of [await client.cancel(hidden.taskId), await client.hasten(hidden.taskId)])
      expect(answer).toBe('unknown')
    await expect(client.retry(hidden.taskId)).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' })
    await expect(client.getStatus(hidden.taskId)).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' })
    await expect(client.result(hidden.taskId)).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' })
    expect((await scene.deferq.getStatus(hidden.taskId)).status).toBe('pending')
  })

  test('hastened: due, running, ended and unknown', async () => {
    const { taskId } = await client.dispatch('held', {}, { delay: '1h' })
    expect(await client.hasten(taskId, { priority: 7 })).toBe('due')
    expect(await client.getStatus(taskId)).toMatchObject({ dueAt: new Date(now), priority: 7 })
    await scene.work()
    await isRunning(taskId)
    expect(await client.hasten(taskId)).toBe('running')
    holding.get(taskId)?.()
    await client.result(taskId)
    expect(await client.hasten(taskId)).toBe('ended')
    expect(await client.hasten('ab'.repeat(44))).toBe('unknown')
    await expect(client.hasten(taskId, { priority: 1.5 })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })

  test('retried: what failed or was cancelled, under the task’s own name; nothing else', async () => {
    const { taskId } = await client.dispatch('price', { of: 'gone' }, { delay: '1h', queue: 'q' })
    await expect(client.retry(taskId)).rejects.toMatchObject({ code: 'NOT_FINISHED' })
    await client.cancel(taskId)
    const again = await client.retry(taskId)
    expect(again).toMatchObject({ outcome: 'created', name: 'price', queue: 'q' })
    expect(again.taskId).not.toBe(taskId)
    await scene.work()
    expect(await client.result(again.taskId)).toMatchObject({ of: 'gone' })
    expect((await scene.deferq.getStatus(again.taskId)).name).toBe('quote')
  })

  test('invalidated: by params, by id, by idempotency key, by name', async () => {
    await scene.work()
    for (const of of ['a', 'b', 'c', 'd']) await client.run('price', { of })
    const keyedRun = await client.dispatch('price', { of: 'k' }, { idempotencyKey: 'k' })
    await client.result(keyedRun.taskId)
    expect(await client.invalidate('price', { of: 'a' })).toBe(1)
    expect(await client.invalidate((await client.dispatch('price', { of: 'b' })).taskId)).toBe(1)
    expect(await client.invalidate('price', undefined, { idempotencyKey: 'k' })).toBe(1)
    expect(await client.invalidate('price', { of: 'never' })).toBe(0)
    expect(await client.invalidate('price')).toBe(2)
    expect((await client.dispatch('price', { of: 'd' })).outcome).toBe('created')
    for (const name of ['hidden.task', 'quote'])
      await expect(client.invalidate(name)).rejects.toMatchObject({ code: 'UNKNOWN_TASK' })
    await expect(client.invalidate('price', undefined, { scope: 's' })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    })
    const at = new Date(9)
    await client.dispatch('held', { at })
    const { taskId } = await client.dispatch('held', { at })
    await isRunning(taskId)
    expect(await client.invalidate('held', { at })).toBe(1)
    expect((await client.dispatch('held', { at })).taskId).not.toBe(taskId)
  })

  test('listed page by page, by status, name and queue; counted; what is hidden is left out', async () => {
    const { taskId: hidden } = await scene.deferq.dispatch('hidden.task', {}, { delay: '1h' })
    await scene.deferq.pause({ name: 'hidden.task' })
    await scene.deferq.pause({ name: 'quote' })
    await scene.deferq.pause({ queue: 'slow' })
    await client.dispatchMany(
      Array.from({ length: 25 }, (_, n) => ({ name: 'held', params: { n }, options: { queue: 'slow' } })),
    )
    const price = await client.dispatch('price', { of: 'tea' })
    const found: string[] = []
    for (let cursor: string | undefined; ; ) {
      const page = await client.list({ status: 'pending', name: 'held', queue: 'slow', limit: 7 }, cursor)
      expect(page.receipts.length).toBeLessThanOrEqual(7)
      found.push(...page.receipts.map(({ taskId }) => taskId))
      cursor = page.cursor
      if (cursor === undefined) break
    }
    expect(new Set(found).size).toBe(25)
    expect((await client.list({ name: 'price' })).receipts).toMatchObject([
      { taskId: price.taskId, name: 'price' },
    ])
    const all = await client.list({ limit: 1_000 })
    expect(all.receipts.map(({ taskId }) => taskId)).not.toContain(hidden)
    expect((await client.list({ status: 'failed' })).receipts).toEqual([])
    await expect(client.list({ name: 'hidden.task' })).rejects.toMatchObject({ code: 'UNKNOWN_TASK' })
    await expect(client.list({ status: 'odd' as never })).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    const { lanes, paused, totals } = await client.stats()
    expect(lanes).toEqual(
      expect.arrayContaining([
        { queue: 'slow', name: 'held', pending: 25, running: 0 },
        { queue: 'default', name: 'price', pending: 1, running: 0 },
      ]),
    )
    expect(lanes).toHaveLength(2)
    expect(paused).toEqual(expect.arrayContaining([{ name: 'price' }, { queue: 'slow' }]))
    expect(JSON.stringify([lanes, paused])).not.toMatch(/hidden|quote/)
    expect(totals.created).toBeGreaterThanOrEqual(27)
  })

  test('a run that nobody asks for is cancelled; a look through the client keeps it', async () => {
    const options = { onAbandoned: { then: 'cancelPending' as const, grace: '5s' as const } }
    const left = await client.dispatch('held', { a: 1 }, options)
    const kept = await client.dispatch('held', { a: 2 }, options)
    now += 4_000
    await client.getStatus(kept.taskId)
    now += 4_000
    await (await scene.deferq.open()).sweep(100)
    expect((await client.getStatus(left.taskId)).status).toBe('cancelled')
    expect((await client.getStatus(kept.taskId)).status).toBe('pending')
  })

  test('errors are those of the store, to the cause and its details', async () => {
    await scene.work()
    const { taskId } = await client.dispatch('price', { of: 'nothing' })
    const errorOf = (result: Promise<unknown>): Promise<DeferqError> =>
      result.then(
        () => expect.fail('it has failed'),
        (error: DeferqError) => error,
      )
    const here = await errorOf(client.result(taskId))
    const there = await errorOf(scene.deferq.result(taskId))
    expect(here).toBeInstanceOf(DeferqError)
    expect(here.code).toBe(there.code)
    expect(here.message).toBe(there.message.replace('quote', 'price'))
    expect(here.cause).toEqual(there.cause)
    expect(here.cause).toMatchObject({ code: 'REQUEST_FAILED', details: { of: 'nothing' } })
    expect(Object.keys(here.details ?? {})).toEqual(Object.keys(there.details ?? {}))
    const [shown] = (await client.getStatus(taskId)).history
    expect(shown).toMatchObject({ attempt: 1, at: expect.any(Date), error: { message: 'No quote.' } })
  })
})

describe('waits', () => {
  test('many at once are told of their ends by few requests', async () => {
    const all = await client.dispatchMany(
      Array.from({ length: 120 }, (_, n) => ({ name: 'price', params: { of: `w${n}` } })),
    )
    const waits = all.map(({ taskId }) => client.result(taskId))
    await scene.work()
    const results = (await Promise.all(waits)) as { of: string }[]
    expect(results.map(({ of }) => of)).toEqual(all.map((_, n) => `w${n}`))
    expect(requests.length).toBeLessThan(100)
  })

  test('one that has ended is answered at once, an unknown one not found; time, signal and close end a wait', async () => {
    await scene.work()
    const { taskId } = await client.dispatch('price', { of: 'tea' })
    await client.result(taskId)
    expect(await client.result(taskId)).toMatchObject({ of: 'tea' })
    await expect(client.result('ab'.repeat(44))).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' })
    await expect(client.result('7')).rejects.toMatchObject({ code: 'INVALID_ID' })
    const never = await client.dispatch('held', {})
    await expect(client.result(never.taskId, { timeout: 50 })).rejects.toMatchObject({ code: 'WAIT_TIMEOUT' })
    await expect(client.run('held', {}, { wait: 50 } as never)).rejects.toMatchObject({
      code: 'WAIT_TIMEOUT',
    })
    const aborting = new AbortController()
    const aborted = client.result(never.taskId, { signal: aborting.signal })
    setTimeout(() => aborting.abort(), 20)
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' })
    const open = client.result(never.taskId)
    const closed = expect(open).rejects.toMatchObject({ code: 'CLOSED' })
    await new Promise((resolve) => setTimeout(resolve, 50))
    await client.close()
    await closed
    await expect(client.dispatch('held', {})).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(client.stats()).rejects.toMatchObject({ code: 'CLOSED' })
    expect((await scene.deferq.getStatus(never.taskId)).status).toBe('running')
  })
})

describe('features', () => {
  test('publish and quick, with gates', async () => {
    const held = await client
      .publish('price')
      .payload({ of: 'gated' })
      .when(() => false)
      .commit()
    expect(held).toMatchObject({ gated: true, by: 'when' })
    const made = await client.quick('price', '5m', { of: 'gated' })
    expect(made).toMatchObject({ gated: false, outcome: 'created' })
    const plain = await client.dispatch('held', { a: 1 })
    const joined = await client
      .publish('held')
      .payload({ a: 1 })
      .when(() => false)
      .commit()
    expect(joined).toMatchObject({ gated: false, outcome: 'joined', taskId: plain.taskId })
  })

  test('batches: progress, callbacks that are functions, results and errors of the members, cancelling', async () => {
    await scene.work()
    const seen: number[] = []
    const told: Receipt[] = []
    const items = ['a', 'nothing', 'c'].map((of) => ({ name: 'price', params: { of } }))
    const { id } = await client.batch(items, {
      progress: ({ pending }) => seen.push(pending),
      finally: (receipt: Receipt) => told.push(receipt),
    })
    const results = await client.batchResults(id)
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(results[1]).toMatchObject({ reason: { code: 'TASK_FAILED' } })
    await eventually('its end is told', () => told.length === 1)
    expect(seen).toEqual([2, 1, 0])
    expect(await client.getBatch(id)).toMatchObject({ total: 3, completed: 2, failed: 1, pending: 0 })
    const { id: other, taskIds } = await client.batch([{ name: 'held', params: { b: 1 } }])
    await isRunning(taskIds[0] as string)
    expect(await client.cancelBatch(other, 'enough')).toMatchObject({ cancelled: 1, pending: 0 })
    await expect(client.getResult(taskIds[0] as string)).rejects.toMatchObject({
      message: expect.stringContaining('enough'),
    })
    await expect(client.getBatch(taskIds[0] as string)).rejects.toMatchObject({ code: 'INVALID_ID' })
  })

  test('the tasks’ definitions, where they are here, are checked before anything is sent', async () => {
    const tasks = [quote, hiddenTask]
    const typed = new DeferQ({ url: server.url, secret: SECRET, tasks }) as unknown as DeferQ
    await expect(typed.dispatch('nothing', {})).rejects.toMatchObject({
      code: 'UNKNOWN_TASK',
    })
    expect(requests).toEqual([])
    await expect(typed.dispatch('hidden.task', {})).rejects.toMatchObject({ code: 'UNKNOWN_TASK' })
    expect(requests).toEqual(['POST /dispatches'])
    await typed.close()
  })

  test('what needs the store itself is refused, and says where to go', async () => {
    const refusal = { code: 'INVALID_OPTION', message: expect.stringMatching(/over HTTP: .*redis:\/\//) }
    const engine = await client.open()
    expect(engine.name).toBe('http')
    for (const refused of [
      () => client.pause({ queue: 'default' }),
      () => client.resume({ queue: 'default' }),
      () => client.drain({ queue: 'default' }),
      () => client.schedule('nightly', { every: '1h', name: 'held', params: {} }),
      () => client.schedules.list(),
      () => client.schedules.get('nightly'),
      () => engine.claim({ names: ['held'], limit: 1, leaseMs: 1_000 }),
      () => engine.settle([]),
      () => engine.extend([], 1_000),
      () => engine.sweep(1),
      () => engine.pause({ name: 'held' }, true),
      () => engine.admit([]),
    ])
      await expect(refused()).rejects.toMatchObject(refusal)
    const store = { getMany: () => {} } as never
    expect(() => new DeferQ({ url: server.url, results: { store } })).toThrow(/its own side/)
    expect(() => new DeferQ({ url: 'http://' })).toThrow(expect.objectContaining({ code: 'INVALID_URL' }))
  })
})
