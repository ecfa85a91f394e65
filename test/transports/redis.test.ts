// The conformance suite over the Redis transport: on a single server and on a cluster.
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'vitest'
import type { TransportFactory } from '../../src/conformance/index.ts'
import { transportConformance } from '../../src/conformance/index.ts'
import { RedisTransport } from '../../src/transports/redis/index.ts'
import { sharedUrl } from '../servers/shared.ts'

const over = (name: string, server: 'redis' | 'cluster'): TransportFactory => ({
  name,
  skips: { 'properties travel beside the body': 'Redis has no place beside the body' },
  async create() {
    const url = sharedUrl(server)
    return {
      unitMs: 250,
      async connect() {
        const transport = new RedisTransport({ url })
        await transport.open()
        return transport
      },
      advance: (ms) => sleep(ms),
      close: async () => {},
    }
  },
})

for (const factory of [over('redis', 'redis'), over('redis cluster', 'cluster')]) {
  for (const { name, run, skip } of transportConformance(factory)) {
    if (skip === undefined) test.concurrent(name, run)
    else test.skip(`${name} (${skip})`)
  }
}
