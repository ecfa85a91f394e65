// What happens at the same time: several bridges at one queue, copies of one message, answers that are lost, handlers that hang.
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Draft, Engine } from '../../src/contract/engine.ts'
import { MemoryEngine } from '../../src/engines/memory/index.ts'
import { DeferQ, task } from '../../src/index.ts'
import { AWAY, eventually, everywhere, memory, SILENT, working } from '../facade/places.ts'
import { bridging, letter, post } from './scene.ts'

const URN = 'urn:babel:orders:created'

everywhere('three bridges, and three copies of each message: every one runs once', async (place) => {
  const runs = new Map<number, number>()
  const tasks = [
    task(URN, {
      run: ({ n }: { n: number }) => {
        runs.set(n, (runs.get(n) ?? 0) + 1)
      },
    }),
  ]
  const box = post()
  const letters = Array.from({ length: 150 }, (_, n) => letter(URN, { n }))
  const bridges = [1, 2, 3].map(() =>
    bridging(place.deferq({ tasks }), { transport: box.transport(), queues: ['orders'], prefetch: 20 }),
  )
  working(place.deferq({ tasks }))
  await Promise.all([
    box.put('orders', ...letters),
    box.put('orders', ...letters),
    box.put('orders', ...letters),
  ])
  await box.emptied('orders')
  await eventually('all have run', () => runs.size === letters.length)
  const summaries = await Promise.all(bridges.map((bridge) => bridge.stop()))
  expect(summaries.reduce((sum, each) => sum + (each?.acked ?? 0), 0)).toBe(450)
  expect([...runs.values()].every((count) => count === 1)).toBe(true)
  expect(await box.texts('orders.dlq')).toEqual([])
})

test('an admission whose answer is lost is repeated, and is one run', async () => {
  const inner = new MemoryEngine()
  let lost = 0
  const engine = new Proxy(inner, {
    get(target, verb) {
      const value = Reflect.get(target, verb, target) as unknown
      if (typeof value !== 'function') return value
      if (verb !== 'admit') return value.bind(target)
      return async (drafts: readonly Draft[]) => {
        const verdicts = await target.admit(drafts)
        if (lost++ < 2) throw AWAY
        return verdicts
      }
    },
  }) as Engine
  let runs = 0
  const deferq = new DeferQ({ engine, logger: SILENT, tasks: [task(URN, { run: () => void runs++ })] })
  const { put, transport, emptied } = post()
  await put('orders', letter(URN))
  const bridge = bridging(deferq, { transport: transport(), queues: ['orders'] })
  working(deferq)
  await emptied('orders')
  await eventually('it has run', () => runs > 0)
  expect(await bridge.stop()).toMatchObject({ acked: 1, lost: 0 })
  expect(await deferq.stats()).toMatchObject({ totals: { created: 1, completed: 1 } })
  expect(runs).toBe(1)
})

test('a resolver that hangs holds up its own message alone, which is given back in the end', async () => {
  const ran: unknown[] = []
  const deferq = memory().deferq({ tasks: [task(URN, { run: (params) => void ran.push(params) })] })
  const { put, transport, texts } = post()
  const stuck = letter('urn:stuck')
  await put('orders', stuck, ...Array.from({ length: 20 }, (_, n) => letter(URN, { n })))
  const bridge = bridging(deferq, {
    transport: transport(),
    queues: ['orders'],
    prefetch: 2,
    grace: 50,
    resolve: (urn) => (urn === 'urn:stuck' ? new Promise<never>(() => {}) : undefined),
  })
  working(deferq)
  await eventually('the others have run', () => ran.length === 20)
  expect(await bridge.stop()).toMatchObject({ acked: 20 })
  expect(await texts('orders')).toEqual([stuck])
})

test('a message whose visibility passes while it is in hand runs once', async () => {
  const runs: unknown[] = []
  const deferq = memory().deferq({ tasks: [task(URN, { run: (params) => void runs.push(params) })] })
  let skew = 0
  const box = post(() => Date.now() + skew)
  let go = (): void => {}
  const held = new Promise<void>((resolve) => {
    go = resolve
  })
  let asked = 0
  await box.put('orders', letter(URN, {}, { id: randomUUID() }))
  const bridge = bridging(deferq, {
    transport: box.transport(),
    queues: ['orders'],
    resolve: async () => {
      if (++asked === 1) await held
      return URN
    },
    handlers: {},
  })
  await eventually('it is in hand', () => asked === 1)
  skew = 200_000
  // The broker has taken it back, and handed it out again.
  await eventually('it is in hand twice', () => asked === 2)
  go()
  working(deferq)
  await eventually('it has run', () => runs.length === 1)
  await box.emptied('orders')
  await eventually('both have left', async () => (await bridge.stop())?.acked === 1)
  expect(await bridge.stop()).toMatchObject({ reserved: 2, acked: 1, lost: 1 })
  expect(runs).toHaveLength(1)
})
