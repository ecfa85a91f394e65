// How a reservation waits, whatever it waits for.
import { expect, test } from 'vitest'
import { DeferqError } from '../../src/base/errors.ts'
import type { Delivery, Reservation } from '../../src/contract/transport.ts'
import type { Look, Waiting } from '../../src/drivers/transport-wait.ts'
import { Waits } from '../../src/drivers/transport-wait.ts'
import { bytes, texts } from './places.ts'

const FOUND: Look = {
  deliveries: [{ queue: 'q', token: 't', deliveries: 0, body: bytes('it') }],
  nextMs: 60_000,
}
const NOTHING: Look = { deliveries: [], nextMs: 60_000 }

const want = (more: Partial<Reservation> = {}): Reservation => ({
  queues: ['q'],
  limit: 1,
  visibilityMs: 1_000,
  waitMs: 10_000,
  ...more,
})

/** Looks that answer one after another; what it rings is kept. */
function place(looks: (Look | Error)[], more: Partial<Waiting> = {}) {
  const rings = new Set<() => void>()
  const troubles: string[] = []
  let looked = 0
  const waiting: Waiting = {
    async look() {
      const next = looks[Math.min(looked++, looks.length - 1)] as Look | Error
      if (next instanceof Error) throw next
      return next
    },
    listen(ring) {
      rings.add(ring)
      return () => rings.delete(ring)
    },
    ringsLate: false,
    trouble: ({ code }) => troubles.push(code),
    ...more,
  }
  return { waiting, rings, troubles, looked: () => looked }
}

const quick = async (work: Promise<Delivery[]>): Promise<string[]> => {
  const began = performance.now()
  const found = texts(await work)
  expect(performance.now() - began).toBeLessThan(2_000)
  return found
}

test('what comes between a look and the listening is found by a second look', async () => {
  const { waiting, rings } = place([NOTHING, FOUND])
  expect(await quick(new Waits().reserve(want(), waiting))).toEqual(['it'])
  expect(rings.size).toBe(0)
})

test('where the ringing is late enough, there is no second look until it rings', async () => {
  const { waiting, rings, looked } = place([NOTHING, FOUND], { ringsLate: true })
  const waits = new Waits().reserve(want(), waiting)
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect([looked(), rings.size]).toEqual([1, 1])
  for (const ring of rings) ring()
  expect(await quick(waits)).toEqual(['it'])
})

test('nobody listens while there is something, or when nobody waits', async () => {
  const { waiting, rings } = place([FOUND], {
    listen: () => {
      throw new Error('nobody should listen')
    },
  })
  expect(await quick(new Waits().reserve(want(), waiting))).toEqual(['it'])
  const idle = place([NOTHING], { listen: waiting.listen })
  expect(await quick(new Waits().reserve(want({ waitMs: 0 }), idle.waiting))).toEqual([])
  expect(rings.size).toBe(0)
})

test('an outage is told, and the wait goes on; other errors end it', async () => {
  const away = new DeferqError('STORE_UNAVAILABLE', 'away')
  const { waiting, troubles } = place([away, FOUND])
  expect(await quick(new Waits().reserve(want(), waiting))).toEqual(['it'])
  expect(troubles).toEqual(['STORE_UNAVAILABLE'])
  const wrong = new DeferqError('INVALID_OPTION', 'wrong')
  await expect(new Waits().reserve(want(), place([wrong]).waiting)).rejects.toBe(wrong)
  // With no time to wait, the outage is the answer.
  await expect(new Waits().reserve(want({ waitMs: 0 }), place([away]).waiting)).rejects.toBe(away)
  await expect(new Waits().reserve(want({ waitMs: 300 }), place([away]).waiting)).rejects.toBe(away)
})

test('closing and an abort end a wait, and leave no listener', async () => {
  const waits = new Waits()
  const { waiting, rings } = place([NOTHING])
  const closing = waits.reserve(want(), waiting)
  const stop = new AbortController()
  const aborted = new Waits().reserve(want({ signal: stop.signal }), waiting)
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(rings.size).toBe(2)
  waits.close()
  stop.abort()
  expect(await quick(closing)).toEqual([])
  expect(await quick(aborted)).toEqual([])
  expect(rings.size).toBe(0)
})
