// The conformance suite over @keyv/redis, redlock and the Redis transport on one real Redis.
import { describe, test } from 'vitest'
import { conformance } from '../../src/conformance/index.ts'
import { RedisTransport } from '../../src/transports/redis/index.ts'
import { redisApart, redisKeyv, redisLock, serverFactory } from './servers.ts'

const factory = serverFactory('composed of @keyv/redis, redlock and the Redis transport', () => {
  const url = redisApart()
  return {
    tasks: () => redisKeyv(url),
    lock: () => redisLock(url),
    queue: () => new RedisTransport({ url }),
  }
})

// The cases wait for the clock more than they work, and each has keys of its own.
/** For a case that is played again because the machine stood still. */
const LONG_MS = 60_000

describe.concurrent('conformance', () => {
  for (const { name, run } of conformance(factory)) test(name, run, LONG_MS)
})
