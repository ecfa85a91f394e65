// The conformance suite over one Redis server, one with several shards, a cluster, and a master watched by sentinels.
import { describe, test } from 'vitest'
import { conformance } from '../../src/testing/index.ts'
import { sharedUrl } from '../servers/shared.ts'
import { redisFactory } from './factory.ts'

const factories = [
  redisFactory('redis', () => sharedUrl('redis'), 1),
  redisFactory('redis, 3 shards', () => sharedUrl('redis'), 3),
  redisFactory('redis cluster', () => sharedUrl('cluster'), 12),
  redisFactory('redis sentinel', () => sharedUrl('sentinel'), 1),
]

// The cases wait for the server's clock more than they work, and each has a store of its own.
describe.concurrent('conformance', () => {
  for (const factory of factories) {
    for (const { name, run } of conformance(factory)) test(name, run)
  }
})
