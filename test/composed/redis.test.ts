// The conformance suite over @keyv/redis and redlock on a real Redis, with a broker in this process.
import { describe, test } from 'vitest'
import { conformance } from '../../src/testing/index.ts'
import { sharedUrl } from '../servers/shared.ts'
import { redisKeyv, redisLock, serverFactory } from './servers.ts'

const factory = serverFactory('composed of @keyv/redis and redlock', () => {
  const url = sharedUrl('redis')
  return { tasks: () => redisKeyv(url), lock: () => redisLock(url) }
})

// The cases wait for the clock more than they work, and each has keys of its own.
describe.concurrent('conformance', () => {
  for (const { name, run } of conformance(factory)) test(name, run)
})
