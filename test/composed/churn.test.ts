// Several workers at the runs of a few groups over real servers: no limit is ever exceeded, each run begins once, and all end.
import { setTimeout as sleep } from 'node:timers/promises'
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
const WORK_MS = 5

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
  async function work(engine: Engine): Promise<void> {
    while (begun.length < drafts.length && performance.now() < end) {
      const { claimed } = await engine.claim(want)
      for (const each of claimed) {
        begun.push(each.entry.id)
        count(each, 1)
      }
      await sleep(WORK_MS)
      // Another may begin before the end is answered, so it is counted before it is told.
      for (const each of claimed) count(each, -1)
      await engine.settle(
        claimed.map(({ entry: { id }, token }) => ({ id, token, kind: 'completed', result: '1' })),
      )
    }
  }
  await Promise.all(engines.map(work))
  expect(begun.toSorted()).toEqual(drafts.map(({ id }) => id).toSorted())
  for (const group of GROUPS) expect(most.get(group)).toBeLessThanOrEqual(LIMIT)
  expect((await (engines[1] as Engine).count()).lanes).toEqual([])
  for (const engine of engines) await engine.close()
  await harness.close()
}

test('over the Redis transport', async () => {
  const url = redisApart()
  const queue = () => new RedisTransport({ url })
  const parts = { tasks: () => redisKeyv(url), lock: () => redisLock(url), queue }
  await churn(
    serverFactory('Redis', () => parts),
    60,
  )
})

test('over RabbitMQ', async () => {
  const [url, broker] = [redisApart(), await sharedUrlOnDemand('rabbitmq')]
  const queue = () => new RabbitmqTransport({ url: broker })
  const parts = { tasks: () => redisKeyv(url), lock: () => redisLock(url), queue }
  await churn(
    serverFactory('RabbitMQ', () => parts),
    40,
  )
}, 60_000)
