// The conformance suite over @keyv/redis, redlock and RabbitMQ: every part a real server.
import { beforeAll, describe, test } from 'vitest'
import { conformance } from '../../src/conformance/index.ts'
import { RabbitmqTransport } from '../../src/transports/rabbitmq/index.ts'
import { sharedUrlOnDemand } from '../servers/shared.ts'
import { redisApart, redisKeyv, redisLock, serverFactory } from './servers.ts'

let broker: string
beforeAll(async () => {
  broker = await sharedUrlOnDemand('rabbitmq')
})

const factory = serverFactory(
  'composed of @keyv/redis, redlock and RabbitMQ',
  () => {
    const url = redisApart()
    return {
      tasks: () => redisKeyv(url),
      lock: () => redisLock(url),
      queue: () => new RabbitmqTransport({ url: broker }),
      lateMs: 200,
    }
  },
  700,
)

// Side by side on two cores, with a broker that syncs its disk, a case of a hundred claims takes a while.
const LONG_MS = 60_000

describe.concurrent('conformance', () => {
  for (const { name, run } of conformance(factory)) test(name, run, LONG_MS)
})
