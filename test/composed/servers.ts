// The composed engine over real servers: each connection with clients of its own, as processes have.
import { setTimeout as sleep } from 'node:timers/promises'
import KeyvRedis from '@keyv/redis'
import { Redis } from 'ioredis'
import { Keyv } from 'keyv'
import type { Factory } from '../../src/conformance/index.ts'
import type { ComposedOptions } from '../../src/engines/composed/index.ts'
import { composed, redlockLock } from '../../src/engines/composed/index.ts'
import { MemoryBroker, MemoryTransport } from '../../src/transports/memory.ts'
import { sharedUrl } from '../servers/shared.ts'
import { newPrefix } from './memory.ts'

/** A database of its own: a list goes through all that there is, and the other tests leave a hundred thousand keys. */
export function redisApart(): string {
  const url = new URL(sharedUrl('redis'))
  url.pathname = '/5'
  return url.href
}

/** Without a queue of commands: what was not sent in time must not be sent later. */
export function redisKeyv(url: string): Keyv {
  return new Keyv({ store: new KeyvRedis({ url, disableOfflineQueue: true }), namespace: 'tasks' })
}

export const redisLock = (url: string): ReturnType<typeof redlockLock> =>
  redlockLock([new Redis(url, { maxRetriesPerRequest: 1, enableOfflineQueue: true })])

/** What each connection makes for itself; `broker` is shared where a broker in memory carries the work. */
export interface Place {
  tasks(): Keyv
  lock(): ReturnType<typeof redlockLock>
  queue?(): ComposedOptions['queue']
  /** How late the delays of the broker end. */
  lateMs?: number
}

export function serverFactory(name: string, place: () => Place, unitMs = 400): Factory {
  return {
    name,
    async create() {
      const { tasks, lock, queue, lateMs = 0 } = place()
      const broker = new MemoryBroker()
      const prefix = newPrefix()
      return {
        unitMs,
        // The broker orders runs that were delayed, released or behind another.
        firstInFirstOut: false,
        ordersByDueTime: false,
        async connect() {
          const engine = composed({
            tasks: tasks(),
            lock: lock(),
            queue: queue?.() ?? new MemoryTransport({ broker }),
            prefix,
          })
          await engine.open()
          return engine
        },
        advance: async (ms) => {
          await sleep(ms + lateMs)
        },
        async corrupt(id) {
          const keyv = tasks()
          await keyv.set(`${prefix}.k.${id.slice(0, 64)}`, 'damaged')
          if (!(keyv.store instanceof KeyvRedis)) return
          await keyv.disconnect()
        },
        close: async () => {},
      }
    },
  }
}
