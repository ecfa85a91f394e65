// Runs that end when nobody asks for them: their timers lie in the transport, and may come early, twice, or for nothing.
import { Keyv } from 'keyv'
import { expect, onTestFinished, test } from 'vitest'
import { newKey, newRun } from '../../src/conformance/scene.ts'
import type { Draft, Engine } from '../../src/contract/engine.ts'
import { memoryPlace } from './memory.ts'

const policy = { maxAttempts: 9, resultTtlMs: 0, staleTtlMs: 0, failureTtlMs: 0, retentionMs: 60_000 }
const draft = (more: Partial<Draft> = {}, key = newKey()): Draft => ({
  id: key + newRun(),
  name: 'job',
  queue: 'default',
  params: '{}',
  priority: 0,
  delayMs: 0,
  attended: { ms: 5_000, running: false },
  policy,
  ...more,
})
const want = { names: ['job'], limit: 10, leaseMs: 600_000 }
const keyOf = ({ id }: { id: string }): string => id.slice(0, 64)

function kept(engine: Engine): Engine {
  onTestFinished(() => engine.close())
  return engine
}

class BrokenMap extends Map<string, unknown> {
  failing = false
  override set(key: string, value: unknown): this {
    if (this.failing) throw new Error('the store is away')
    return super.set(key, value)
  }
}

test('a timer whose run was never written is dropped; the run that is written has one of its own', async () => {
  const map = new BrokenMap()
  const place = memoryPlace({ tasks: new Keyv({ store: map }) })
  const engine = kept(await place.connect())
  const run = draft()
  map.failing = true
  await expect(engine.admit([run])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  map.failing = false
  place.advance(3_000)
  expect((await engine.admit([run]))[0]?.outcome).toBe('created')
  place.advance(2_001)
  expect((await engine.sweep(10)).abandoned).toEqual([])
  place.advance(3_000)
  expect((await engine.sweep(10)).abandoned).toEqual([run.id])
  place.advance(60_000)
  expect((await engine.sweep(10)).abandoned).toEqual([])
  expect(await place.queue.depth([`${place.prefix}.timers`])).toMatchObject([{ ready: 0, delayed: 0 }])
})

test('a run that may not be cut short is cancelled once it waits again', async () => {
  const place = memoryPlace()
  const engine = kept(await place.connect())
  const run = draft()
  await engine.admit([run])
  const [claimed] = (await engine.claim(want)).claimed
  place.advance(6_000)
  expect((await engine.sweep(10)).abandoned, 'while it runs').toEqual([])
  const token = claimed?.token as string
  await engine.settle([{ id: run.id, token, kind: 'retry', error: '{}', delayMs: 60_000 }])
  expect((await engine.sweep(10)).abandoned).toEqual([run.id])
  expect((await engine.count()).lanes).toEqual([])
})

test('however often it is put back, a run has one timer that counts', async () => {
  const place = memoryPlace()
  const engine = kept(await place.connect())
  const run = draft({ attended: { ms: 60_000, running: true } })
  await engine.admit([run])
  for (let round = 0; round < 20; round++) {
    const [claimed] = (await engine.claim(want)).claimed
    await engine.settle([{ id: run.id, token: claimed?.token as string, kind: 'released' }])
  }
  place.advance(59_000)
  await engine.read([keyOf(run)])
  place.advance(2_000)
  expect((await engine.sweep(100)).abandoned).toEqual([])
  const [timers] = await place.queue.depth([`${place.prefix}.timers`])
  // One of those for the leases, and the one for those who ask.
  expect(timers?.delayed).toBeLessThanOrEqual(21)
  place.advance(58_000)
  expect((await engine.sweep(100)).abandoned).toEqual([run.id])
})

test('of those who ask and a sweep at the same time, one wins, and all agree', async () => {
  for (let round = 0; round < 20; round++) {
    const place = memoryPlace()
    const engines = [kept(await place.connect()), kept(await place.connect()), kept(await place.connect())]
    const [one, two, three] = engines as [Engine, Engine, Engine]
    const run = draft()
    await one.admit([run])
    place.advance(5_000)
    const [joined, read, swept] = await Promise.all([
      one.admit([draft({}, keyOf(run))]),
      two.read([run.id]),
      three.sweep(10),
    ])
    const [now] = await one.read([run.id])
    if (swept.abandoned.length === 1) {
      expect(now?.status).toBe('cancelled')
    } else {
      expect(now?.status).toBe('pending')
      expect(joined[0]?.outcome).toBe('joined')
      expect(read[0]?.status).toBe('pending')
    }
    if (joined[0]?.outcome === 'joined') expect(joined[0].entry.id).toBe(run.id)
    else expect(now?.status, 'created anew because it was cancelled').toBe('cancelled')
  }
})
