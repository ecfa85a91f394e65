// Starts the servers that all test files share, once per run, and hands their URLs to the tests.
import type { TestProject } from 'vitest/node'
import { openCounter } from './on-demand.ts'
import { startSharedPostgres } from './postgres.ts'
import { startSharedRabbitmq } from './rabbitmq.ts'
import { startRedisCluster, startRedisSentinel, startSharedRedis } from './redis.ts'
import type { Shared } from './shared.ts'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stops: (() => Promise<void>)[] = []
  const start = async (begin: () => Promise<{ url: string; stop(): Promise<void> }>): Promise<Shared> => {
    try {
      const server = await begin()
      stops.push(() => server.stop())
      return { url: server.url }
    } catch (error) {
      // Told to each test that asks for it, which then fails; those that need no server still run.
      const { message, cause } = error as Error
      return { error: cause ? `${message} (${cause})` : message }
    }
  }
  const [redis, cluster, sentinel, postgres] = await Promise.all([
    start(startSharedRedis),
    start(startRedisCluster),
    start(startRedisSentinel),
    start(startSharedPostgres),
  ])
  project.provide('deferqServers', { redis, cluster, sentinel, postgres })
  // Ten seconds, which a run of other test files need not wait for.
  const rabbitmq = await openCounter(() => start(startSharedRabbitmq))
  project.provide('deferqCounters', { rabbitmq: rabbitmq.port })
  return async () => {
    await rabbitmq.stop()
    await Promise.all(stops.map((stop) => stop()))
  }
}
