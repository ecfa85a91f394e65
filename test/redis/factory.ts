// Stores for the conformance suite on a real Redis: each under a prefix of its own, with the server's own clock.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Factory } from '../../src/conformance/index.ts'
import { shardOf } from '../../src/contract/engine.ts'
import { shortKey } from '../../src/engines/redis/ids.ts'
import type { RedisEngineOptions } from '../../src/engines/redis/index.ts'
import { RedisEngine } from '../../src/engines/redis/index.ts'
import { shardTags } from '../../src/engines/redis/shards.ts'
import { commands } from './commands.ts'

export const newPrefix = (): string => `t${randomBytes(6).toString('hex')}`

export function redisFactory(name: string, url: () => string, shards: number, more: object = {}): Factory {
  return {
    name,
    async create() {
      const prefix = newPrefix()
      const options: RedisEngineOptions = { url: url(), prefix, shards, ...more }
      return {
        unitMs: 250,
        // Delayed runs of one moment lie in order of their keys.
        firstInFirstOut: false,
        async connect() {
          const engine = new RedisEngine(options)
          await engine.open()
          return engine
        },
        advance: async (ms) => {
          await sleep(ms)
        },
        async corrupt(id) {
          const client = await commands(url())
          const tag = shardTags(prefix, shards)[shardOf(id, shards)] as string
          await client.set(`${tag}e:${shortKey(id.slice(0, 64))}`, 'damaged')
          client.disconnect()
        },
        close: async () => {},
      }
    },
  }
}
