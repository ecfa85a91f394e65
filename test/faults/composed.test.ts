// Processes that die, freeze and stop, with @keyv/redis, redlock and RabbitMQ between them.
import { beforeAll, onTestFinished } from 'vitest'
import { DeferQ } from '../../src/index.ts'
import { newPrefix } from '../composed/memory.ts'
import { redisApart } from '../composed/servers.ts'
import type { Place } from '../facade/places.ts'
import { SILENT } from '../facade/places.ts'
import { sharedUrlOnDemand } from '../servers/shared.ts'
import { faults } from './faults.ts'
import { composedUrl, where } from './where.ts'

let broker: string
beforeAll(async () => {
  broker = await sharedUrlOnDemand('rabbitmq')
})

faults(async (): Promise<Place> => {
  const url = composedUrl({ redis: redisApart(), broker, prefix: newPrefix() })
  const there = await where(url)
  return {
    name: 'composed',
    url,
    deferq(options = {}) {
      const deferq = new DeferQ({ logger: SILENT, ...there, ...options } as never)
      onTestFinished(() => deferq.close())
      return deferq as never
    },
  }
})
