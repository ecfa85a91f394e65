// The conformance suite over one Redis server, one with several shards, one without functions, a cluster, and a master watched by
// sentinels.
import { beforeAll, describe, test } from 'vitest'
import { conformance } from '../../src/conformance/index.ts'
import { sharedUrl } from '../servers/shared.ts'
import { commands } from './commands.ts'
import { redisFactory } from './factory.ts'

const factories = [
  redisFactory('redis', () => sharedUrl('redis'), 1),
  redisFactory('redis, 3 shards', () => sharedUrl('redis'), 3),
  redisFactory('redis, no functions', () => sharedUrl('redis').replace('//', '//old:old@'), 1),
  redisFactory('redis cluster', () => sharedUrl('cluster'), 12),
  redisFactory('redis sentinel', () => sharedUrl('sentinel'), 1),
]

// As it is before Redis 7: the scripts travel as such.
beforeAll(async () => {
  const client = await commands(sharedUrl('redis'))
  await client.acl('SETUSER', 'old', 'on', '>old', '~*', '&*', '+@all', '-fcall', '-function')
  client.disconnect()
})

// The cases wait for the server's clock more than they work, and each has a store of its own.
/** For a case that is played again because the machine stood still. */
const LONG_MS = 60_000

describe.concurrent('conformance', () => {
  for (const factory of factories) {
    for (const { name, run } of conformance(factory)) test(name, run, LONG_MS)
  }
})
