// Runs of groups over real servers: no limit is ever exceeded, and what a message says is neither lost nor done twice.
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, test, vi } from 'vitest'
import { newKey, newRun } from '../../src/conformance/scene.ts'
import type { Claimed, Draft, Engine } from '../../src/contract/engine.ts'
import type { Answer, Delivery } from '../../src/contract/transport.ts'
import type { Transport } from '../../src/engines/composed/index.ts'
import { composed } from '../../src/engines/composed/index.ts'
import { RabbitmqTransport } from '../../src/transports/rabbitmq/index.ts'
import { RedisTransport } from '../../src/transports/redis/index.ts'
import { sharedUrlOnDemand } from '../servers/shared.ts'
import { newPrefix } from './memory.ts'
import { redisApart, redisKeyv, redisLock } from './servers.ts'

const policy = { maxAttempts: 3, resultTtlMs: 0, staleTtlMs: 0, failureTtlMs: 0, retentionMs: 60_000 }
const GROUPS = ['a', 'b', 'c']
const LIMIT = 2
const WORK_MS = 5
const EACH = 40
const WAIT = { timeout: 5_000, interval: 20 }

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

const completed = ({ entry: { id }, token }: Claimed) =>
  ({ id, token, kind: 'completed', result: '1' }) as const

async function churn(connect: (forgetful: boolean) => Promise<Engine>): Promise<void> {
  const engines = await Promise.all([1, 2, 3, 4].map(() => connect(false)))
  const drafts = GROUPS.flatMap((group) => Array.from({ length: EACH }, () => draft(group)))
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
      await engine.settle(claimed.map(completed))
    }
  }
  await Promise.all(engines.map(work))
  expect(begun.toSorted()).toEqual(drafts.map(({ id }) => id).toSorted())
  for (const group of GROUPS) expect(most.get(group)).toBeLessThanOrEqual(LIMIT)
  expect((await (engines[1] as Engine).count()).lanes).toEqual([])
  for (const engine of engines) await engine.close()
}

/** A worker that dies before it has acknowledged anything. */
async function dying(connect: (forgetful: boolean) => Promise<Engine>): Promise<void> {
  const drafts = GROUPS.flatMap((group) => [draft(group), draft(group)])
  const limits = { job: { running: 1 } }
  const want = { names: ['job'], limit: 10, leaseMs: 30_000, limits }
  const first = await connect(true)
  await first.admit(drafts)
  const { claimed } = await first.claim(want)
  expect(claimed.map(({ entry }) => entry.group).toSorted()).toEqual(GROUPS)
  await first.close()
  const second = await connect(false)
  expect((await second.claim(want)).claimed, 'nothing that came again makes room').toEqual([])
  await second.settle(claimed.map(completed))
  const rest: Claimed[] = []
  await vi.waitFor(async () => {
    rest.push(...(await second.claim(want)).claimed)
    expect(rest).toHaveLength(3)
  }, WAIT)
  await second.settle(rest.map(completed))
  expect([...claimed, ...rest].map(({ entry }) => entry.id).toSorted()).toEqual(
    drafts.map(({ id }) => id).toSorted(),
  )
  expect((await second.claim(want)).claimed).toEqual([])
  expect((await second.count()).lanes).toEqual([])
  await second.close()
}

/** A pause that a worker learns of with the messages in its hand. */
async function pausing(connect: (forgetful: boolean) => Promise<Engine>): Promise<void> {
  const [one, two] = [await connect(false), await connect(false)]
  const { group: _, ...plain } = draft('a')
  await one.admit([plain, draft('a')])
  const want = { names: ['job'], limit: 10, leaseMs: 30_000 }
  await two.claim({ ...want, names: ['other'] })
  await one.pause({ queue: 'default' }, true)
  expect((await two.claim(want)).claimed).toEqual([])
  await one.pause({ queue: 'default' }, false)
  const claimed: Claimed[] = []
  await vi.waitFor(async () => {
    claimed.push(...(await two.claim(want)).claimed)
    expect(claimed).toHaveLength(2)
  }, WAIT)
  expect((await one.claim(want)).claimed).toEqual([])
  await two.settle(claimed.map(completed))
  await Promise.all([one.close(), two.close()])
}

class ForgetfulRedis extends RedisTransport {
  override async ack(deliveries: readonly Delivery[]): Promise<Answer[]> {
    return deliveries.map(() => 'done')
  }
}

class ForgetfulRabbitmq extends RabbitmqTransport {
  override async ack(deliveries: readonly Delivery[]): Promise<Answer[]> {
    return deliveries.map(() => 'done')
  }
}

let broker: string
beforeAll(async () => {
  broker = await sharedUrlOnDemand('rabbitmq')
})

const url = redisApart()
const brokers: Record<string, (forgetful: boolean) => Transport> = {
  'the Redis transport': (forgetful) => new (forgetful ? ForgetfulRedis : RedisTransport)({ url }),
  RabbitMQ: (forgetful) => new (forgetful ? ForgetfulRabbitmq : RabbitmqTransport)({ url: broker }),
}

for (const [name, queue] of Object.entries(brokers)) {
  const connecting = (): ((forgetful: boolean) => Promise<Engine>) => {
    const prefix = newPrefix()
    return async (forgetful) => {
      const parts = { tasks: redisKeyv(url), lock: redisLock(url), queue: queue(forgetful), prefix }
      const engine = composed(parts)
      await engine.open()
      return engine
    }
  }
  test(`workers side by side, over ${name}`, () => churn(connecting()))
  test(`a worker that dies with its messages unacknowledged, over ${name}`, () => dying(connecting()))
  test(`a pause that comes while messages are in hand, over ${name}`, () => pausing(connecting()))
}
