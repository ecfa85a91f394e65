// What goes wrong between the parts: a broker, a store or a lock that fails at the worst moment, and what is found then.
import { Keyv } from 'keyv'
import { expect, onTestFinished, test, vi } from 'vitest'
import { newKey, newRun } from '../../src/conformance/scene.ts'
import type { Claimed, Draft, Engine, Hint } from '../../src/contract/engine.ts'
import type { Outgoing } from '../../src/contract/transport.ts'
import type { Held, Lock } from '../../src/engines/composed/index.ts'
import { memoryLock } from '../../src/engines/composed/index.ts'
import { MemoryBroker, MemoryTransport } from '../../src/transports/memory.ts'
import { memoryPlace } from './memory.ts'

const policy = { maxAttempts: 3, resultTtlMs: 60_000, staleTtlMs: 0, failureTtlMs: 0, retentionMs: 60_000 }
const draft = (key = newKey(), more: Partial<Draft> = {}): Draft => ({
  id: key + newRun(),
  name: 'job',
  queue: 'default',
  params: '{}',
  priority: 0,
  delayMs: 0,
  policy,
  ...more,
})
const want = { names: ['job'], limit: 10, leaseMs: 30_000 }
const keyOf = ({ id }: { id: string }): string => id.slice(0, 64)
const completed = ({ entry: { id }, token }: Claimed) =>
  ({ id, token, kind: 'completed', result: '1' }) as const

class Broken extends MemoryTransport {
  failing: 'before' | 'after' | undefined
  override async publish(messages: readonly Outgoing[]): Promise<void> {
    if (this.failing !== 'before') await super.publish(messages)
    if (this.failing !== undefined) throw Object.assign(new Error('no broker'), { code: 'STORE_UNAVAILABLE' })
  }
}

class BrokenMap extends Map<string, unknown> {
  failing: 'set' | 'get' | undefined
  override set(key: string, value: unknown): this {
    if (this.failing === 'set') throw new Error('the store is away')
    return super.set(key, value)
  }
  override get(key: string): unknown {
    if (this.failing === 'get') throw new Error('the store is away')
    return super.get(key)
  }
}

function kept(engine: Engine): Engine {
  onTestFinished(() => engine.close())
  return engine
}

test('a publication that fails leaves nothing behind: the caller is told, and the next one creates', async () => {
  for (const failing of ['before', 'after'] as const) {
    const broker = new MemoryBroker()
    const queue = new Broken({ broker })
    const engine = kept(await memoryPlace({ queue, now: Date.now }).connect())
    const first = draft()
    queue.failing = failing
    await expect(engine.admit([first])).rejects.toThrow('no broker')
    expect(await engine.read([first.id])).toEqual([undefined])
    queue.failing = undefined
    expect((await engine.claim(want)).claimed).toEqual([])
    const [verdict] = await engine.admit([draft(keyOf(first))])
    expect(verdict?.outcome).toBe('created')
    const { claimed } = await engine.claim(want)
    expect(claimed.map(({ entry }) => entry.id)).toEqual([verdict?.entry.id])
    expect((await engine.count()).totals).toEqual({ created: 1 })
  }
})

test('a crash between the message and the document: the message is looked at once more, then dropped', async () => {
  const map = new BrokenMap()
  const broker = new MemoryBroker({ now: () => now })
  let now = 1_750_000_000_000
  const place = memoryPlace({
    tasks: new Keyv({ store: map }),
    now: () => now,
    queue: new MemoryTransport({ broker }),
  })
  const engine = kept(await place.connect())
  await engine.admit([draft(undefined, { name: 'other' })])
  const lost = draft()
  await engine.admit([draft()])
  await engine.claim(want)
  map.failing = 'set'
  await expect(engine.admit([lost])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  map.failing = undefined
  const lane = `${place.prefix}.q.default.job`
  const [before] = await new MemoryTransport({ broker }).depth([lane])
  expect(before).toMatchObject({ ready: 1 })
  expect((await engine.claim(want)).claimed).toEqual([])
  await vi.waitFor(async () =>
    expect(await new MemoryTransport({ broker }).depth([lane])).toMatchObject([
      { ready: 0, delayed: 1, reserved: 0 },
    ]),
  )
  now += 60_000
  expect((await engine.claim(want)).claimed).toEqual([])
  await vi.waitFor(async () =>
    expect(await new MemoryTransport({ broker }).depth([lane])).toMatchObject([
      { ready: 0, delayed: 0, reserved: 0 },
    ]),
  )
  expect((await engine.admit([draft(keyOf(lost))]))[0]?.outcome).toBe('created')
  expect((await engine.claim(want)).claimed).toHaveLength(1)
})

test('a store that is away is never taken for an empty one', async () => {
  const map = new BrokenMap()
  const engine = kept(await memoryPlace({ tasks: new Keyv({ store: map }) }).connect())
  const first = draft()
  await engine.admit([first])
  map.failing = 'get'
  for (const call of [
    () => engine.admit([draft(keyOf(first))]),
    () => engine.read([first.id]),
    () => engine.cancel([first.id]),
    () => engine.claim(want),
    () => engine.count(),
  ]) {
    await expect(call()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  }
  map.failing = undefined
  expect((await engine.admit([draft(keyOf(first))]))[0]?.outcome).toBe('joined')
  await vi.waitFor(async () => expect((await engine.claim(want)).claimed).toHaveLength(1))
})

test('a claim or an outcome that could not be written is made up for', async () => {
  const map = new BrokenMap()
  const engine = kept(await memoryPlace({ tasks: new Keyv({ store: map }) }).connect())
  const first = draft()
  await engine.admit([first])
  map.failing = 'set'
  await expect(engine.claim(want)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  map.failing = undefined
  let claimed: Claimed[] = []
  await vi.waitFor(async () => {
    claimed = (await engine.claim(want)).claimed
    expect(claimed).toHaveLength(1)
  })
  expect(claimed[0]?.entry.attempt).toBe(1)
  map.failing = 'set'
  await expect(engine.settle(claimed.map(completed))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  map.failing = undefined
  expect((await engine.settle(claimed.map(completed))).answers).toEqual(['settled'])
  expect((await engine.count()).totals).toEqual({ created: 1, completed: 1 })
})

test('a lock that ran out while it was held: nothing is written', async () => {
  let ranOut = false
  const inner = memoryLock()
  const lock: Lock = {
    caveats: [],
    async acquire(...args): Promise<Held> {
      const held = await inner.acquire(...args)
      return { leftMs: () => (ranOut ? 0 : held.leftMs()), release: () => held.release() }
    },
  }
  const engine = kept(await memoryPlace({ lock }).connect())
  const first = draft()
  await engine.admit([first])
  const { claimed } = await engine.claim(want)
  ranOut = true
  const late = draft()
  await expect(engine.admit([late])).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: expect.stringContaining('ran out'),
  })
  await expect(engine.settle(claimed.map(completed))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  ranOut = false
  expect(await engine.read([late.id])).toEqual([undefined])
  expect((await engine.read([first.id]))[0]?.status).toBe('running')
  expect((await engine.settle(claimed.map(completed))).answers).toEqual(['settled'])
})

test('a broker that has lost everything: whoever joins a run that nobody takes announces it once more', async () => {
  const place = memoryPlace()
  const engine = kept(await place.connect())
  const [waiting, running] = [draft(), draft()]
  await engine.admit([running])
  const { claimed } = await engine.claim(want)
  await engine.admit([waiting])
  await engine.close()
  // Another broker, as one that was set up anew.
  const again = kept(await memoryPlaceOn(place, 120_000).connect())
  expect((await again.claim(want)).claimed).toEqual([])
  expect((await again.sweep(10)).requeued).toEqual([])
  for (const { outcome } of await again.admit([draft(keyOf(waiting)), draft(keyOf(running))]))
    expect(outcome).toBe('joined')
  expect((await again.sweep(10)).requeued).toEqual([running.id])
  const ids = (await again.claim(want)).claimed.map(({ entry }) => entry.id)
  expect(ids.sort()).toEqual([waiting.id, running.id].sort())
  expect((await again.settle(claimed.map(completed))).answers).toEqual(['lost'])
})

function memoryPlaceOn({ map, prefix }: { map: Map<string, unknown>; prefix: string }, laterMs: number) {
  const place = memoryPlace({ tasks: new Keyv({ store: map }), prefix })
  place.advance(laterMs)
  return place
}

test('a store that does not clear away by itself is cleared of what has expired, and of nothing else', async () => {
  const place = memoryPlace()
  const engine = kept(await place.connect())
  const [ended, replaced, waiting] = [draft(), draft(), draft(undefined, { name: 'other' })]
  await engine.admit([ended, replaced, waiting])
  await engine.settle((await engine.claim(want)).claimed.map(completed))
  const live = draft(keyOf(replaced), { refresh: true })
  await engine.admit([live])
  await engine.invalidate({ keys: [keyOf(replaced)] })
  place.advance(601_000)
  expect((await engine.sweep(100)).removed).toBe(2)
  expect((await engine.sweep(100)).removed).toBe(0)
  const runs = [...place.map.keys()].filter((key) => /\.[kr]\.[0-9a-f]+$/.test(key))
  expect(runs.sort()).toEqual([live, waiting].map((each) => `keyv:${place.prefix}.k.${keyOf(each)}`).sort())
  expect((await engine.read([live.id, waiting.id])).map((run) => run?.status)).toEqual(['pending', 'pending'])
})

test('a look deletes nothing: what it finds expired may be another’s to write anew', async () => {
  const place = memoryPlace()
  const engine = kept(await place.connect())
  const first = draft()
  await engine.admit([first])
  const name = `keyv:${place.prefix}.k.${keyOf(first)}`
  const row = JSON.parse(place.map.get(name) as string)
  place.map.set(name, JSON.stringify({ ...row, expires: Date.now() - 1 }))
  expect((await engine.read([first.id]))[0]?.status).toBe('pending')
  expect((await engine.admit([draft(keyOf(first))]))[0]?.outcome).toBe('joined')
  expect(place.map.has(name)).toBe(true)
})

test('documents that can’t be read harm no other, and are kept for whoever wants to look', async () => {
  const place = memoryPlace()
  const engine = kept(await place.connect())
  const hints: Hint[] = []
  engine.listen((hint) => hints.push(hint))
  const keyv = new Keyv({ store: place.map })
  const drafts = [draft(), draft(), draft(), draft()]
  await engine.admit(drafts)
  const [text, raw, number] = drafts.map((each) => `${place.prefix}.k.${keyOf(each)}`)
  await keyv.set(text as string, '{"v":1,"run":{"id":"x"}}')
  place.map.set(`keyv:${raw}`, 'no JSON at all')
  await keyv.set(number as string, 7)
  const ids = drafts.map(({ id }) => id)
  expect((await engine.read(ids)).map((entry) => entry?.id)).toEqual([
    undefined,
    undefined,
    undefined,
    ids[3],
  ])
  expect((await engine.list({})).entries.map(({ id }) => id)).toEqual([ids[3]])
  const { claimed, malformed } = await engine.claim(want)
  expect(claimed.map(({ entry }) => entry.id)).toEqual([ids[3]])
  expect(malformed?.map(({ id }) => id).sort()).toEqual(drafts.slice(0, 3).map(keyOf).sort())
  expect(JSON.stringify([...place.map.keys()])).toContain(`.damaged.${text}`)
  expect((await engine.admit([draft(keyOf(drafts[1] as Draft))]))[0]?.outcome).toBe('created')
  expect((await engine.claim(want)).claimed).toHaveLength(1)
})

test('what somebody else put into a queue of deferq is dropped and told', async () => {
  const broker = new MemoryBroker()
  const place = memoryPlace({ queue: new MemoryTransport({ broker }) })
  const engine = kept(await place.connect())
  const hints: Hint[] = []
  engine.listen((hint) => hints.push(hint))
  await engine.admit([draft()])
  const other = new MemoryTransport({ broker })
  for (const queue of [`${place.prefix}.q.default.job`, `${place.prefix}.timers`])
    await other.publish([{ queue, body: Buffer.from('who is this?') }])
  expect((await engine.claim(want)).claimed).toHaveLength(1)
  expect(await engine.sweep(10)).toEqual({ requeued: [], failed: [], abandoned: [], removed: 0 })
  await vi.waitFor(() => expect(hints).toContainEqual(expect.objectContaining({ kind: 'trouble' })))
})

test('what is due in a year is due in a year, though no broker delays for that long', async () => {
  const place = memoryPlace()
  const engine = kept(await place.connect())
  const day = 86_400_000
  await engine.admit([draft(undefined, { delayMs: 365 * day })])
  for (let passed = 0; passed < 365; passed++) {
    expect((await engine.claim(want)).claimed).toEqual([])
    place.advance(day)
  }
  place.advance(1)
  await vi.waitFor(async () => expect((await engine.claim(want)).claimed).toHaveLength(1))
})

test('names and queues of any kind have lanes of their own', async () => {
  const place = memoryPlace()
  const engine = kept(await place.connect())
  const names = [
    'a.b',
    'a',
    'b',
    'ü ñ/é',
    'x'.repeat(200),
    `${'x'.repeat(199)}y`,
    '🎉'.repeat(50),
    'a%2eb',
    '__proto__',
  ]
  const drafts = names.map((name) => draft(undefined, { name, queue: name === 'a' ? 'b.b' : 'b' }))
  await engine.admit(drafts)
  for (const [index, name] of names.entries()) {
    const { claimed } = await engine.claim({ ...want, names: [name] })
    expect(claimed.map(({ entry }) => entry.id)).toEqual([drafts[index]?.id])
  }
})

test('a worker waits for work without looking, across connections', async () => {
  const place = memoryPlace({ now: Date.now })
  const broker = new MemoryBroker()
  const [asking, working] = [
    kept(await place.connect({ queue: new MemoryTransport({ broker }) })),
    kept(await place.connect({ queue: new MemoryTransport({ broker }) })),
  ]
  const hints: Hint[] = []
  working.listen((hint) => hints.push(hint))
  await asking.admit([draft()])
  expect((await working.claim({ ...want, limit: 2 })).claimed).toHaveLength(1)
  for (let round = 0; round < 3; round++) {
    hints.length = 0
    const from = performance.now()
    await asking.admit([draft()])
    await vi.waitFor(() => expect(hints).toContainEqual({ kind: 'work' }), { interval: 1 })
    expect(performance.now() - from).toBeLessThan(500)
    expect((await working.claim({ ...want, limit: 2 })).claimed).toHaveLength(1)
  }
  // One that hears and does not claim keeps nothing from the others.
  await asking.admit([draft()])
  await vi.waitFor(async () => expect((await asking.claim(want)).claimed).toHaveLength(1))
})
