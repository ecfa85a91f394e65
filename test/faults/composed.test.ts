// Processes that die, freeze and stop, with @keyv/redis, redlock and the Redis transport between them.
import { onTestFinished } from 'vitest'
import { DeferQ } from '../../src/index.ts'
import { newPrefix } from '../composed/memory.ts'
import type { Place } from '../facade/places.ts'
import { SILENT } from '../facade/places.ts'
import { sharedUrl } from '../servers/shared.ts'
import { faults } from './faults.ts'
import { composedUrl, where } from './where.ts'

faults(async (): Promise<Place> => {
  const redis = sharedUrl('redis')
  const url = composedUrl({ redis, broker: redis, prefix: newPrefix() })
  const { engine } = (await where(url)) as Extract<Awaited<ReturnType<typeof where>>, { engine: unknown }>
  return {
    name: 'composed',
    url,
    deferq(options = {}) {
      const deferq = new DeferQ({ logger: SILENT, engine, ...options } as never)
      onTestFinished(() => deferq.close())
      return deferq as never
    },
  }
})
