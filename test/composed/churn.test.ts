// Several workers at the runs of a few groups over real servers: no limit is ever exceeded, each run begins once, and all end.
import { expect, test } from 'vitest'
import type { Claimed, Draft, Engine } from '../../src/engine.ts'
import type { Factory } from '../../src/testing/index.ts'
import { newKey, newRun } from '../../src/testing/scene.ts'
import { RabbitmqTransport } from '../../src/transports/rabbitmq/index.ts'
import { RedisTransport } from '../../src/transports/redis/index.ts'
import { sharedUrlOnDemand } from '../servers/shared.ts'
import { redisApart, redisKeyv, redisLock, serverFactory } from './servers.ts'

const policy = { maxAttempts: 3, resultTtlMs: 0, staleTtlMs: 0, failureTtlMs: 0, retentionMs: 60_000 }
const GROUPS = ['a', 'b', 'c']
const LIMIT = 2

const draft = (group: string): Draft => ({
  id: newKey() + newRun(),
  name: 'job',
  queue: 'default',
  params: '{}',
  priority: 0,
  delayMs: 0,
  group,
  policy,
})

async function churn(factory: Factory, each: number): Promise<void> {
  const harness = await factory.create()
  const engines = await Promise.all([1, 2, 3, 4].map(() => harness.connect()))
  const drafts = GROUPS.flatMap((group) => Array.from({ length: each }, () => draft(group)))
  await (engines[0] as Engine).admit(drafts)
  const running = new Map(GROUPS.map((group) => [group, 0]))
  const most = new Map(running)
  const begun: string[] = []
  const count = ({ entry }: Claimed, by: number): void => {
    const group = entry.group as string
    const now = (running.get(group) as number) + by
    running.set(group, now)
    most.set(group, Math.max(most.get(group) as number, now))
  }
  const limits = { job: { running: LIMIT } }
  const want = { names: ['job'], limit: 2, leaseMs: 30_000, limits }
  const end = performance.now() + 15_000
  const from = performance.now()
  async function work(engine: Engine): Promise<void> {
    while (begun.length < drafts.length && performance.now() < end) {
      const { claimed } = await engine.claim(want)
      for (const each of claimed) {
        begun.push(each.entry.id)
        count(each, 1)
      }
      // Another may begin in the moment in which the end is answered; so it is counted before.
      for (const each of claimed) count(each, -1)
      await engine.settle(
        claimed.map(({ entry: { id }, token }) => ({ id, token, kind: 'completed', result: '1' })),
      )
    }
  }
  await Promise.all(engines.map(work))
  const ms = performance.now() - from
  expect(begun.toSorted()).toEqual(drafts.map(({ id }) => id).toSorted())
  for (const group of GROUPS) expect(most.get(group)).toBeLessThanOrEqual(LIMIT)
  expect((await (engines[1] as Engine).count()).lanes).toEqual([])
  for (const engine of engines) await engine.close()
  await harness.close()
  console.log(`${Math.round((1_000 * drafts.length) / ms)} runs/s`)
}
