// What goes wrong with a real server: restarts, fail-overs, cut and silent connections, full memory, wrong logins.
import { Redis } from 'ioredis'
import { afterEach, expect, test, vi } from 'vitest'
import type { Claimed, Draft, Hint } from '../../src/contract/engine.ts'
import { RedisEngine } from '../../src/engines/redis/index.ts'
import { Subscriber } from '../../src/engines/redis/subscriber.ts'
import { DeferQ } from '../../src/index.ts'
import type { RedisOptions, RedisServer } from '../servers/redis.ts'
import { startRedis, startRedisSentinel } from '../servers/redis.ts'
import { proxyTo } from '../transports/proxy.ts'
import { draft, want } from './drafts.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function server(options?: RedisOptions): Promise<{ server: RedisServer; raw: Redis }> {
  const started = await startRedis(options)
  const raw = new Redis(started.url, { maxRetriesPerRequest: null })
  raw.on('error', () => {})
  cleanups.push(
    () => started.stop(),
    () => raw.disconnect(),
  )
  return { server: started, raw }
}

function engine(url: string, timeoutMs = 5_000): { engine: RedisEngine; hints: Hint[] } {
  const made = new RedisEngine({ url, timeoutMs })
  const hints: Hint[] = []
  made.listen((hint) => hints.push(hint))
  cleanups.push(() => made.close())
  return { engine: made, hints }
}

const drafts = (count: number): Draft[] => Array.from({ length: count }, () => draft())
const completed = ({ entry, token }: Claimed) =>
  ({ id: entry.id, token, kind: 'completed', result: '1' }) as const

async function timed<Answer>(call: Promise<Answer>): Promise<{ error: unknown; ms: number }> {
  const from = performance.now()
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  return { error, ms: performance.now() - from }
}

test('scripts that the server has forgotten are sent again', async () => {
  const {
    server: { url },
    raw,
  } = await server()
  const { engine: one } = engine(url)
  await one.admit(drafts(1))
  await raw.script('FLUSH')
  await raw.function('FLUSH')
  await one.admit(drafts(1))
  await raw.script('FLUSH')
  await raw.function('FLUSH')
  expect((await one.claim(want({ limit: 9 }))).claimed).toHaveLength(2)
})

test('a server that is killed and started again is used on, with what its append-only file holds', async () => {
  const { server: started } = await server({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const { engine: one, hints } = engine(started.url)
  await one.admit(drafts(20))
  const { claimed } = await one.claim(want({ limit: 5 }))
  await started.kill9()
  const waiting = one.settle(claimed.map(completed))
  await started.restart()
  expect((await waiting).answers).toEqual(Array(5).fill('settled'))
  expect((await one.claim(want({ limit: 50 }))).claimed).toHaveLength(15)
  await vi.waitFor(
    () => expect(hints.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['changed', 'work'])),
    5_000,
  )
})

test('a server that lost everything is started anew, and told of when others gave it other shards', async () => {
  const { server: started, raw } = await server()
  const { engine: one, hints } = engine(started.url)
  await one.admit(drafts(3))
  await started.kill9()
  await started.restart()
  await vi.waitFor(async () => expect((await one.admit(drafts(1)))[0]?.outcome).toBe('created'))
  expect((await one.claim(want({ limit: 9 }))).claimed).toHaveLength(1)
  await raw.flushall()
  await raw.set('deferq:store', '2 7')
  await raw.call('CLIENT', 'KILL', 'TYPE', 'normal')
  await vi.waitFor(() => expect(JSON.stringify(hints)).toContain('has 7 shards, and 1 were asked for'), 5_000)
})

test('a master that has become a replica is asked again until it, or another, is a master', async () => {
  const {
    server: { url },
    raw,
  } = await server()
  const { engine: one } = engine(url)
  await one.admit(drafts(1))
  // A replica of nobody there keeps its data and refuses writes.
  await raw.replicaof('127.0.0.1', 1)
  const admitted = one.admit(drafts(1))
  const claimed = one.claim(want({ limit: 9 }))
  await new Promise((resolve) => setTimeout(resolve, 300))
  await raw.replicaof('NO', 'ONE')
  expect((await admitted)[0]?.outcome).toBe('created')
  expect((await claimed).claimed.length).toBeGreaterThanOrEqual(1)
})

test('connections cut in mid-command: nothing is lost, nothing is done twice', async () => {
  const {
    server: { url },
    raw,
  } = await server()
  const { engine: one } = engine(url, 10_000)
  await one.open()
  let cutting = true
  const cuts = (async () => {
    for (; cutting; await new Promise((resolve) => setTimeout(resolve, 120)))
      await raw.call('CLIENT', 'KILL', 'TYPE', 'normal')
  })()
  const all = drafts(3_000)
  const batches = Array.from({ length: 60 }, (_, index) => all.slice(index * 50, index * 50 + 50))
  const verdicts = (await Promise.all(batches.map((batch) => one.admit(batch)))).flat()
  expect(verdicts.every(({ outcome }) => outcome === 'created')).toBe(true)
  let done = 0
  const end = performance.now() + 15_000
  while (done < all.length && performance.now() < end) {
    // A claim whose answer was lost comes back when its lease ends.
    await one.sweep(1_000)
    const { claimed } = await one.claim(want({ limit: 200, leaseMs: 400 })).catch(() => ({ claimed: [] }))
    if (claimed.length === 0) continue
    const { answers } = await one.settle(claimed.map(completed))
    done += answers.filter((answer) => answer === 'settled').length
  }
  cutting = false
  await cuts
  const { totals, lanes } = await one.count()
  expect(totals).toMatchObject({ created: 3_000, completed: 3_000 })
  expect(lanes).toEqual([])
})

test('a new draft whose answer was lost finds its run when it is sent again, though that was moved aside meanwhile', async () => {
  const {
    server: { port, url },
  } = await server()
  const proxy = await proxyTo(port)
  const { engine: one } = engine(`redis://127.0.0.1:${proxy.port}`)
  const { engine: other } = engine(url)
  // So that the server knows the scripts, and the first answer is no refusal.
  await Promise.all([one.count(), other.count()])
  const asked = draft({ firstSend: true })
  proxy.loseNextAnswer(async () => {
    const { claimed } = await other.claim(want())
    expect(claimed[0]?.entry.id).toBe(asked.id)
    await other.invalidate({ keys: [asked.id.slice(0, 64)] })
  })
  const [verdict] = await one.admit([asked])
  expect(verdict).toMatchObject({ outcome: 'created', entry: { id: asked.id, status: 'running' } })
  expect(proxy.lost()).toBe(1)
  expect((await other.count()).totals.created).toBe(1)
})

test('a server that answers nobody: every call fails in time, and goes on when it is back', async () => {
  const { server: started } = await server()
  const { engine: one } = engine(started.url, 400)
  const [first] = drafts(1)
  await one.admit([first as Draft])
  await started.pause()
  for (const call of [
    () => one.admit(drafts(1)),
    () => one.claim(want()),
    () => one.settle([{ id: first?.id as string, token: 'x', kind: 'released' }]),
    () => one.read([first?.id as string]),
    () => one.sweep(10),
    () => one.count(),
  ]) {
    const { error, ms } = await timed<unknown>(call())
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(String((error as Error).message)).toMatch(/Redis at redis:\/\/127\.0\.0\.1:\d+/)
    expect(ms).toBeLessThan(1_500)
  }
  started.continue()
  await vi.waitFor(async () => {
    // The claim may have lain before the server all the while.
    expect((await one.read([first?.id as string]))[0]?.status).toMatch(/pending|running/)
  }, 5_000)
})

test('a connection that has gone silent is replaced, and calls fail in time until then', async () => {
  const {
    server: { port },
  } = await server()
  const proxy = await proxyTo(port)
  const { engine: one } = engine(`redis://127.0.0.1:${proxy.port}`, 400)
  await one.count()
  proxy.silence()
  const { error, ms } = await timed<unknown>(one.count())
  expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  expect(ms).toBeLessThan(1_500)
  await vi.waitFor(async () => expect(await one.count()).toHaveProperty('totals'), 5_000)
})

test('a server that is not there: opening fails in time, tells no password, and may be tried again', async () => {
  const { server: started } = await server()
  await started.kill9()
  const { engine: one } = engine(started.url.replace('//', '//user:secret@'), 300)
  const { error, ms } = await timed(one.open())
  expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  expect(String(error)).not.toContain('secret')
  expect(ms).toBeLessThan(1_500)
  const { engine: two } = engine(started.url, 300)
  expect((await timed(two.admit(drafts(1)))).error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  await started.restart()
  await vi.waitFor(async () => expect((await two.admit(drafts(1)))[0]?.outcome).toBe('created'), 5_000)
})

test('a login that is refused is told at once, and plainly', async () => {
  const {
    server: { url },
  } = await server({ args: ['--requirepass', 'right'] })
  for (const login of ['', ':wrong@']) {
    const { error, ms } = await timed(engine(url.replace('//', `//${login}`)).engine.open())
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(String(error)).toMatch(/refuses the login/)
    expect(String(error)).not.toContain('wrong@')
    expect(ms).toBeLessThan(2_000)
  }
  await engine(url.replace('//', '//:right@')).engine.open()
})

test('a full store says so, and can still be drained', async () => {
  const {
    server: { url },
    raw,
  } = await server()
  const { engine: one } = engine(url)
  await one.admit(drafts(3))
  const { claimed } = await one.claim(want({ limit: 1 }))
  await raw.config('SET', 'maxmemory', '1mb')
  expect((await timed(one.admit(drafts(1)))).error).toMatchObject({ code: 'STORE_FULL' })
  const settled = await one.settle(claimed.map(completed), want({ limit: 5 }))
  expect(settled.answers).toEqual(['settled'])
  expect(settled.claimed).toHaveLength(2)
  await one.extend(
    [{ id: settled.claimed[0]?.entry.id as string, token: settled.claimed[0]?.token as string }],
    1_000,
  )
  await raw.config('SET', 'maxmemory', '0')
  expect((await one.count()).totals).toMatchObject({ created: 3, completed: 1 })
})

test('a server that deletes what it likes when it is full is warned of', async () => {
  const {
    server: { url },
    raw,
  } = await server()
  await raw.config('SET', 'maxmemory-policy', 'allkeys-lru')
  const { engine: one, hints } = engine(url)
  await one.open()
  expect(hints.find(({ kind }) => kind === 'trouble')).toMatchObject({
    message: expect.stringContaining('allkeys-lru'),
  })
  expect(one.caveats.join()).toMatch(/maxmemory-policy is allkeys-lru.*append-only file/)
})

test('hints that may have been missed are made up for', async () => {
  const {
    server: { url },
    raw,
  } = await server()
  const { engine: one, hints } = engine(url)
  await one.open()
  await raw.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await vi.waitFor(() => expect(hints.map(({ kind }) => kind)).toEqual(['changed', 'work']), 5_000)
  const watched = { ...draft(), watch: true }
  await one.admit([watched])
  await one.cancel([watched.id])
  await vi.waitFor(() => expect(hints.at(-1)).toMatchObject({ kind: 'ended', id: watched.id }))
})

test('a connection for hints that has gone silent is replaced', async () => {
  const { server: started } = await server()
  let made = 0
  let resumed = 0
  const troubles: unknown[] = []
  const subscriber = new Subscriber({
    make: () => {
      made++
      return new Redis(started.url, { lazyConnect: true, retryStrategy: null, connectTimeout: 300 })
    },
    channels: ['news'],
    hear: () => {},
    resumed: () => resumed++,
    trouble: (error) => troubles.push(error),
    checkMs: 100,
  })
  cleanups.push(() => subscriber.close())
  await subscriber.start()
  await started.pause()
  await vi.waitFor(() => expect(String(troubles[0])).toMatch(/did not answer/), 5_000)
  started.continue()
  await vi.waitFor(() => expect(resumed).toBeGreaterThan(0), 10_000)
  expect(made).toBeGreaterThan(1)
})

test('a server that hangs: every caller fails in bounded time, however many there are', async () => {
  const { server: started } = await server()
  const { engine: one } = engine(started.url, 500)
  const deferq = new DeferQ({ engine: one })
  cleanups.push(() => deferq.close())
  await deferq.dispatch('x', -1)
  await started.pause()
  const calls = Array.from({ length: 2_000 }, (_, index) => timed(deferq.dispatch('x', index)))
  const failed = await Promise.all(calls)
  await started.continue()
  for (const { error } of failed) expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
  // One time for those that were under way, and one for all the others.
  expect(Math.max(...failed.map(({ ms }) => ms))).toBeLessThan(2_000)
  expect((await deferq.dispatch('x', 1)).outcome).toMatch(/created|joined/)
})

test('sentinels name another master: calls under way go on there', async () => {
  const sentinel = await startRedisSentinel()
  cleanups.push(() => sentinel.stop())
  const { engine: one } = engine(sentinel.url, 15_000)
  await one.admit(drafts(10))
  let admitted = 10
  let failing = true
  const calls = (async () => {
    while (failing) admitted += (await one.admit(drafts(1))).length
  })()
  await sentinel.failover()
  failing = false
  await calls
  await one.admit(drafts(1))
  const { claimed } = await one.claim(want({ limit: 1_000 }))
  expect(claimed.length).toBeGreaterThanOrEqual(10)
  expect(claimed.length).toBeLessThanOrEqual(admitted + 1)
}, 60_000)
