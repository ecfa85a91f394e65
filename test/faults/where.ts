// Where a fixture's deferq keeps its tasks: a URL, or the parts of a composed engine, as text that a command line can hold.
import KeyvRedis from '@keyv/redis'
import { Redis } from 'ioredis'
import { Keyv } from 'keyv'
import type { Engine } from '../../src/contract/engine.ts'
import { composed, redlockLock } from '../../src/engines/composed/index.ts'
import { openTransport } from '../../src/transports/open.ts'

export interface ComposedPlace {
  redis: string
  broker: string
  prefix: string
}

const MARK = 'composed '

export const composedUrl = (place: ComposedPlace): string => MARK + JSON.stringify(place)

export async function where(url: string): Promise<{ url: string } | { engine: Engine }> {
  if (!url.startsWith(MARK)) return { url }
  const { redis, broker, prefix } = JSON.parse(url.slice(MARK.length)) as ComposedPlace
  const engine = composed({
    tasks: new Keyv({ store: new KeyvRedis({ url: redis, disableOfflineQueue: true }) }),
    lock: redlockLock([new Redis(redis)]),
    queue: await openTransport(broker)(),
    prefix,
  })
  return { engine }
}
