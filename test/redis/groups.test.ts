// Groups on Redis: what they leave behind, and what a full server still allows.
import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { eventually } from '../../src/conformance/scene.ts'
import { RedisEngine } from '../../src/engines/redis/index.ts'
import { sharedUrl } from '../servers/shared.ts'
import { draft, policy } from './drafts.ts'

async function opened() {
  const prefix = `groups-${randomBytes(6).toString('hex')}`
  const engine = new RedisEngine({ url: sharedUrl('redis'), prefix })
  const client = new Redis(sharedUrl('redis'))
  onTestFinished(async () => {
    await engine.close()
    client.disconnect()
  })
  await engine.open()
  const names = async (): Promise<string[]> => {
    const keys: string[] = []
    for await (const some of client.scanStream({ match: `{${prefix}:*`, count: 1_000 }))
      keys.push(...(some as string[]))
    return keys.map((key) => key.slice(key.indexOf('}') + 1).replace(/^([eax]):.*/s, '$1')).sort()
  }
  return { engine, names }
}

test('when a thousand groups have been served, nothing of them is left', async () => {
  const { engine, names } = await opened()
  const limits = { job: { running: 1, rate: { max: 5, perMs: 200 } } }
  const want = { names: ['job'], limit: 200, leaseMs: 10_000, limits }
  await engine.admit(
    Array.from({ length: 1_000 }, (_, index) =>
      draft({ group: `tenant ${index}`, policy: { ...policy, resultTtlMs: 0, retentionMs: 1 } }),
    ),
  )
  let done = 0
  while (done < 1_000) {
    const { claimed } = await engine.claim(want)
    done += claimed.length
    expect(claimed.length).toBe(200)
    await engine.settle(
      claimed.map(({ entry: { id }, token }) => ({ id, token, kind: 'completed' as const, result: '1' })),
    )
  }
  await engine.claim({ ...want, limit: 0 })
  await eventually('what began is forgotten with its time', async () => {
    await engine.sweep(10)
    const left = (await names()).filter((name) => !['counts', 'turn', 'firstLease', 'store'].includes(name))
    return left.length === 0
  })
})

test('lanes of a group that hold nothing but stale tickets are cleared by a claim', async () => {
  const { engine, names } = await opened()
  const drafts = Array.from({ length: 600 }, () => draft({ group: 'a' }))
  await engine.admit(drafts)
  // In the middle of a long lane a ticket stays behind.
  await engine.cancel(drafts.map(({ id }) => id))
  const { claimed, nextDueMs } = await engine.claim({ names: ['job'], limit: 10, leaseMs: 10_000 })
  expect({ claimed, nextDueMs }).toEqual({ claimed: [], nextDueMs: undefined })
  expect((await names()).filter((name) => /^[lgto]:/.test(name) || name === 'lanes')).toEqual([])
})
