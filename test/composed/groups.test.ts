// What goes wrong while runs of groups stand in line: messages that come twice or are lost, writes that come half, long lines.
import { Keyv } from 'keyv'
import { expect, onTestFinished, test, vi } from 'vitest'
import { newKey, newRun } from '../../src/conformance/scene.ts'
import type { AttemptOutcome, Claimed, Draft, Engine, Want } from '../../src/contract/engine.ts'
import type { Answer, Delivery, Outgoing } from '../../src/contract/transport.ts'
import { MemoryBroker, MemoryTransport } from '../../src/transports/memory.ts'
import type { MemoryPlace } from './memory.ts'
import { memoryPlace } from './memory.ts'

const policy = { maxAttempts: 50, resultTtlMs: 0, staleTtlMs: 0, failureTtlMs: 0, retentionMs: 1_000 }
const draft = (more: Partial<Draft> = {}, key = newKey()): Draft => ({
  id: key + newRun(),
  name: 'job',
  queue: 'default',
  params: '{}',
  priority: 0,
  delayMs: 0,
  group: 'a',
  policy,
  ...more,
})
const want = (more: Partial<Want> = {}): Want => ({
  names: ['job'],
  limit: 10,
  leaseMs: 30_000,
  limits: { job: { running: 2 } },
  ...more,
})
const keyOf = ({ id }: { id: string }): string => id.slice(0, 64)
const completed = ({ entry: { id }, token }: Claimed) =>
  ({ id, token, kind: 'completed', result: '1' }) as const
const idsOf = (claimed: readonly Claimed[]): string[] => claimed.map(({ entry: { id } }) => id)

function kept(engine: Engine): Engine {
  onTestFinished(() => engine.close())
  return engine
}

/** The gates that stand in the store, without the parts of their lines. */
function gatesOf({ map, prefix }: MemoryPlace): { running: string[] }[] {
  const gates = [...map].filter(([key]) => new RegExp(`${prefix}\\.g\\.[0-9a-f]+$`).test(key))
  return gates.map(([, text]) => JSON.parse(JSON.parse(text as string).value))
}

class Forgetful extends MemoryTransport {
  forgets = false
  override async ack(deliveries: readonly Delivery[]): Promise<Answer[]> {
    return this.forgets ? deliveries.map(() => 'done') : super.ack(deliveries)
  }
}

test('messages that come again after they were followed: each run begins once, and the limit holds', async () => {
  const place = memoryPlace()
  const broker = new MemoryBroker({ now: () => time })
  let time = 1_750_000_000_000
  const queue = new Forgetful({ broker })
  const engine = kept(await place.connect({ queue, now: () => time }))
  const drafts = Array.from({ length: 6 }, () => draft())
  await engine.admit(drafts)
  queue.forgets = true
  const begun = (await engine.claim(want())).claimed
  expect(begun).toHaveLength(2)
  queue.forgets = false
  const seen = idsOf(begun)
  // Past the visibility of all that was handed out.
  time += 61_000
  await engine.extend(
    begun.map(({ entry: { id }, token }) => ({ id, token })),
    600_000,
  )
  expect((await engine.claim(want())).claimed).toEqual([])
  let running = begun
  while (running.length > 0) {
    await engine.settle(running.map(completed))
    running = (await engine.claim(want())).claimed
    expect(running.length).toBeLessThanOrEqual(2)
    seen.push(...idsOf(running))
  }
  expect(seen.toSorted()).toEqual(drafts.map(({ id }) => id).toSorted())
})

class Broken extends MemoryTransport {
  failing: 'before' | 'after' | undefined
  override async publish(messages: readonly Outgoing[]): Promise<void> {
    if (this.failing !== 'before') await super.publish(messages)
    if (this.failing !== undefined) throw Object.assign(new Error('no broker'), { code: 'STORE_UNAVAILABLE' })
  }
}

class BrokenMap extends Map<string, unknown> {
  failing = false
  override set(key: string, value: unknown): this {
    if (this.failing) throw new Error('the store is away')
    return super.set(key, value)
  }
}

test('an end that could not be told or written: what waits behind it, and in line, comes forward when it is', async () => {
  for (const how of ['before', 'after', 'unwritten'] as const) {
    const map = new BrokenMap()
    const broker = new MemoryBroker()
    const queue = new Broken({ broker })
    const place = memoryPlace({ queue, tasks: new Keyv({ store: map }), now: Date.now })
    const engine = kept(await place.connect())
    const first = draft()
    await engine.admit([first])
    const limits = { job: { running: 1 } }
    const { claimed } = await engine.claim(want({ limits }))
    const behind = draft({ onDuplicate: { running: 'rerunAfter' } }, keyOf(first))
    const inLine = draft()
    await engine.admit([behind, inLine])
    expect((await engine.claim(want({ limits }))).claimed).toEqual([])
    if (how === 'unwritten') map.failing = true
    else queue.failing = how
    await expect(engine.settle(claimed.map(completed))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    map.failing = false
    queue.failing = undefined
    expect((await engine.read([first.id]))[0]?.status).toBe('running')
    expect((await engine.claim(want({ limits }))).claimed, 'nothing has ended').toEqual([])
    expect((await engine.settle(claimed.map(completed))).answers).toEqual(['settled'])
    const seen: string[] = []
    await vi.waitFor(async () => {
      const next = (await engine.claim(want({ limits }))).claimed
      expect(next.length).toBeLessThanOrEqual(1)
      seen.push(...idsOf(next))
      await engine.settle(next.map(completed))
      expect(seen).toHaveLength(2)
    })
    expect(seen.toSorted()).toEqual([behind.id, inLine.id].toSorted())
    expect((await engine.claim(want({ limits }))).claimed).toEqual([])
    expect((await engine.count()).lanes).toEqual([])
  }
})

test('a claim from a line that could not be written: the run stays in line', async () => {
  const map = new BrokenMap()
  const engine = kept(await memoryPlace({ tasks: new Keyv({ store: map }) }).connect())
  const drafts = [draft(), draft()]
  await engine.admit(drafts)
  for (let round = 0; round < 3; round++) {
    map.failing = true
    await expect(engine.claim(want())).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    map.failing = false
  }
  const claimed: Claimed[] = []
  await vi.waitFor(async () => {
    claimed.push(...(await engine.claim(want())).claimed)
    expect(claimed).toHaveLength(2)
  })
  expect(idsOf(claimed).toSorted()).toEqual(drafts.map(({ id }) => id).toSorted())
  expect(claimed.map(({ entry }) => entry.attempt)).toEqual([1, 1])
})

/** One document at a time, and none any more once `left` have been written. */
class OneByOne {
  readonly #map = new Map<string, unknown>()
  left = Number.POSITIVE_INFINITY
  readonly opts = {}
  get(key: string): unknown {
    return this.#map.get(key)
  }
  set(key: string, value: unknown): boolean {
    if (this.left-- <= 0) throw new Error('the process has died')
    this.#map.set(key, value)
    return true
  }
  delete(key: string): boolean {
    if (this.left-- <= 0) throw new Error('the process has died')
    return this.#map.delete(key)
  }
  clear(): void {
    this.#map.clear()
  }
  on(): this {
    return this
  }
}

test('a crash between the end of a run and its gate: the place is given back within a minute or two', async () => {
  const store = new OneByOne()
  let time = 1_750_000_000_000
  const now = () => time
  const parts = { tasks: new Keyv({ store: store as never }), queue: new MemoryTransport({ now }), now }
  const engine = kept(await memoryPlace(parts).connect())
  expect(engine.caveats.join()).toContain('one document after the other')
  const limits = { job: { running: 1 } }
  const [first, second] = [draft(), draft({ priority: -1 })]
  await engine.admit([first, second])
  const { claimed } = await engine.claim(want({ limits, leaseMs: 3_600_000 }))
  expect(idsOf(claimed)).toEqual([first.id])
  // The run's own document is written, that of the gate is not.
  store.left = 1
  await expect(engine.settle(claimed.map(completed))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  store.left = Number.POSITIVE_INFINITY
  expect((await engine.settle(claimed.map(completed))).answers).toEqual(['settled'])
  let next: string[] = []
  let minutes = 0
  for (; next.length === 0 && minutes < 3; minutes++) {
    time += 60_001
    next = idsOf((await engine.claim(want({ limits }))).claimed)
  }
  expect(next).toEqual([second.id])
  expect(minutes).toBeLessThanOrEqual(2)
})

test('a line of a thousand: in order, each once, in documents of bounded size, and nothing but its gate is left', async () => {
  const place = memoryPlace()
  const engine = kept(await place.connect())
  const ids: string[] = []
  for (let batch = 0; batch < 10; batch++) {
    const drafts = Array.from({ length: 100 }, () => draft())
    ids.push(...drafts.map(({ id }) => id))
    await engine.admit(drafts)
  }
  const seen: string[] = []
  let largest = 0
  const limits = { job: { running: 40 } }
  for (let round = 0; seen.length < 1_000 && round < 50; round++) {
    const { claimed } = await engine.claim(want({ limit: 40, limits }))
    seen.push(...idsOf(claimed))
    for (const [key, text] of place.map)
      if (key.includes('.g.')) largest = Math.max(largest, (text as string).length)
    await engine.settle(claimed.map(completed))
  }
  expect(seen).toEqual(ids)
  expect(largest).toBeLessThan(30_000)
  expect([...place.map.keys()].filter((key) => key.includes('.g.'))).toHaveLength(1)
  expect(gatesOf(place)).toMatchObject([{ running: [], lines: [], turns: {} }])
})

test('a limit that is raised or taken away counts within a minute', async () => {
  const day = 86_400_000
  for (const [low, high] of [
    [{ running: 1 }, { running: 3 }],
    [{ rate: { max: 1, perMs: day } }, undefined],
    [{ rate: { max: 1, perMs: day } }, { rate: { max: 3, perMs: day } }],
  ]) {
    const place = memoryPlace()
    const engine = kept(await place.connect())
    await engine.admit([draft(), draft(), draft()])
    const { claimed, nextDueMs } = await engine.claim(want({ limits: { job: low ?? {} }, leaseMs: day }))
    expect(claimed).toHaveLength(1)
    if (low?.rate !== undefined) expect(nextDueMs).toBe(day)
    place.advance(60_001)
    expect((await engine.claim(want({ limits: { job: high ?? {} } }))).claimed).toHaveLength(2)
  }
})

test('a rate that opens much later than a minute opens when it should', async () => {
  const place = memoryPlace()
  const engine = kept(await place.connect())
  const limits = { job: { rate: { max: 1, perMs: 600_000 } } }
  await engine.admit([draft(), draft()])
  const first = (await engine.claim(want({ limits, leaseMs: 3_600_000 }))).claimed
  expect(first).toHaveLength(1)
  for (let minute = 1; minute < 10; minute++) {
    place.advance(60_000)
    expect((await engine.claim(want({ limits }))).claimed, `minute ${minute}`).toEqual([])
  }
  place.advance(60_001)
  expect((await engine.claim(want({ limits }))).claimed).toHaveLength(1)
})

test('a gate that nothing came after is cleared away where the store does not do it', async () => {
  const place = memoryPlace()
  let past = 0
  const engine = kept(await place.connect({ now: () => Date.now() + past, queue: new MemoryTransport() }))
  const limits = { job: { rate: { max: 1, perMs: 5_000 } } }
  await engine.admit([draft()])
  await engine.settle((await engine.claim(want({ limits }))).claimed.map(completed))
  expect(gatesOf(place)).toHaveLength(1)
  await engine.sweep(10)
  past = 601_000
  await engine.sweep(10)
  expect(gatesOf(place)).toEqual([])
})

test('whatever happens to runs: the gates hold exactly those that run, and in the end all have run', async () => {
  for (let seed = 1; seed <= 12; seed++) await mess(seed)
}, 30_000)

async function mess(seed: number): Promise<void> {
  let state = seed * 2_654_435_761
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  const place = memoryPlace()
  const engines = [await place.connect(), await place.connect(), await place.connect()]
  const any = (): Engine => engines[random(3)] as Engine
  const limits = { job: { running: 1 + random(3) } }
  const held: Claimed[] = []
  const keys = Array.from({ length: 8 }, newKey)
  const rules: Draft['onDuplicate'][] = [
    undefined,
    { pending: 'replace', running: 'rerunAfter' },
    { pending: 'supersede', running: 'supersede' },
  ]
  for (let act = 0; act < 150; act++) {
    const at = random(held.length)
    const one = held[at]
    switch (random(8)) {
      case 0:
      case 1:
      case 2:
        await any().admit(
          Array.from({ length: 3 }, () => {
            const onDuplicate = rules[random(3)]
            const more = { group: `g${random(3)}`, priority: random(3), queue: `q${random(2)}` }
            const key = keys[random(keys.length)] as string
            return draft({ ...more, ...(onDuplicate && { onDuplicate }), delayMs: random(2) * 1_000 }, key)
          }),
        )
        break
      case 3:
      case 4: {
        const claims = await Promise.all(
          [any(), any()].map((engine) => engine.claim(want({ limits, limit: 3 }))),
        )
        held.push(...claims.flatMap(({ claimed }) => claimed))
        break
      }
      case 5: {
        if (one === undefined) break
        held.splice(at, 1)
        const { entry, token } = one
        const kind = (['completed', 'failed', 'retry', 'released', 'cancelled'] as const)[random(5)]
        await any().settle([
          { id: entry.id, token, kind, result: '1', error: '{}', delayMs: 500 } as AttemptOutcome,
        ])
        break
      }
      case 6:
        if (one !== undefined && random(2) === 0) await any().cancel([one.entry.id])
        else await any().invalidate({ keys: [keys[random(keys.length)] as string] })
        break
      default:
        place.advance(random(4) === 0 ? 31_000 : 700)
        await any().sweep(100)
    }
    const running = (await any().list({ status: 'running', limit: 500 })).entries
    const inGates = gatesOf(place).flatMap((gate) => gate.running)
    expect(inGates.toSorted(), `after act ${act} of ${seed}`).toEqual(running.map(({ id }) => id).toSorted())
    for (const group of ['g0', 'g1', 'g2'])
      expect(running.filter((run) => run.group === group).length).toBeLessThanOrEqual(limits.job.running)
  }
  await any().settle(held.map(completed))
  for (let round = 0; round < 200; round++) {
    place.advance(1_000)
    await any().sweep(100)
    const { claimed } = await any().claim(want({ limits }))
    await any().settle(claimed.map(completed))
    if (claimed.length === 0 && (await any().count()).lanes.length === 0) break
    if (round % 40 === 39) place.advance(31_000)
  }
  expect((await any().count()).lanes, `left of ${seed}`).toEqual([])
  const left = await place.queue.depth(['q0', 'q1'].map((queue) => `${place.prefix}.q.${queue}.job.turns`))
  for (const { ready, reserved } of left) expect(ready + (reserved ?? 0), `turns left of ${seed}`).toBe(0)
  for (const gate of gatesOf(place)) expect(gate).toMatchObject({ running: [], lines: [], turns: {} })
  for (const engine of engines) await engine.close()
}

test('a broker that has lost everything: whoever joins a run in line brings its group back', async () => {
  const place = memoryPlace()
  const engine = kept(await place.connect())
  const [first, second] = [draft(), draft()]
  await engine.admit([first, second])
  const limits = { job: { running: 1 } }
  const { claimed } = await engine.claim(want({ limits, leaseMs: 3_600_000 }))
  const waiting = idsOf(claimed)[0] === first.id ? second : first
  await engine.settle(claimed.map(completed))
  await engine.close()
  const again = memoryPlace({ tasks: new Keyv({ store: place.map }), prefix: place.prefix })
  again.advance(120_000)
  const other = kept(await again.connect())
  expect((await other.claim(want({ limits }))).claimed).toEqual([])
  expect((await other.admit([draft({}, keyOf(waiting))]))[0]?.outcome).toBe('joined')
  expect(idsOf((await other.claim(want({ limits }))).claimed)).toEqual([waiting.id])
})

test('a gate that can’t be read is set aside and told; other groups go on, and a run of it that is joined comes back', async () => {
  const place = memoryPlace()
  const engine = kept(await place.connect())
  const limits = { job: { running: 1 } }
  const [one, two] = [draft(), draft()]
  await engine.admit([one, two, draft({ group: 'b' }), draft({ group: 'b' })])
  const { claimed } = await engine.claim(want({ limits }))
  expect(claimed).toHaveLength(2)
  const ofA = claimed.find(({ entry }) => entry.group === 'a') as Claimed
  const ofB = claimed.find(({ entry }) => entry.group === 'b') as Claimed
  const waiting = ofA.entry.id === one.id ? two : one
  const gate = [...place.map].find(
    ([, text]) => String(text).includes('"lines') && String(text).includes(waiting.id),
  )
  const [name = ''] = gate ?? []
  await new Keyv({ store: place.map }).set(name.slice('keyv:'.length), 'damaged')
  await engine.settle([ofA, ofB].map(completed))
  expect((await engine.claim(want({ limits }))).claimed.map(({ entry }) => entry.group)).toEqual(['b'])
  expect([...place.map.keys()].some((key) => key.includes('.damaged.'))).toBe(true)
  place.advance(61_000)
  await engine.admit([draft({}, keyOf(waiting))])
  expect(idsOf((await engine.claim(want({ limits }))).claimed)).toEqual([waiting.id])
})

test('a pause is seen by those who were at it: what they had in hand goes back, and comes again', async () => {
  for (const group of ['a', undefined]) {
    const place = memoryPlace()
    const [one, two] = [kept(await place.connect()), kept(await place.connect())]
    const { group: _, ...plain } = draft()
    await one.admit([group === undefined ? plain : { ...plain, group }])
    // Its knowledge of the lanes is a moment old, and says nothing of a pause.
    expect((await two.claim(want({ names: ['other'] }))).claimed).toEqual([])
    await one.pause({ name: 'job' }, true)
    expect((await two.claim(want())).claimed).toEqual([])
    await one.pause({ name: 'job' }, false)
    await vi.waitFor(async () => expect((await two.claim(want())).claimed).toHaveLength(1))
  }
})

test('a pause answers once the claims that had begun have ended', async () => {
  let holding: (() => void) | undefined
  class Held extends MemoryTransport {
    holds = false
    override async publish(messages: readonly Outgoing[]): Promise<void> {
      if (this.holds) await new Promise<void>((resolve) => (holding = resolve))
      return super.publish(messages)
    }
  }
  const broker = new MemoryBroker()
  const queue = new Held({ broker })
  const place = memoryPlace({ now: Date.now })
  const engine = kept(await place.connect({ queue }))
  const other = kept(await place.connect({ queue: new MemoryTransport({ broker }) }))
  await engine.admit([(({ group: _, ...plain }) => plain)(draft())])
  queue.holds = true
  const claiming = engine.claim(want())
  await vi.waitFor(() => expect(holding).toBeDefined())
  let paused = false
  const pausing = other.pause({ queue: 'default' }, true).then(() => (paused = true))
  await vi.waitFor(async () => expect((await other.count()).paused).toEqual([{ queue: 'default' }]))
  expect(paused).toBe(false)
  queue.holds = false
  holding?.()
  expect((await claiming).claimed).toHaveLength(1)
  await pausing
})
