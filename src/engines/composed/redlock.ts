// The lock across processes: redlock over one Redis, several independent ones, or a cluster.
import { environment } from '../../base/environment.ts'
import { DeferqError } from '../../base/errors.ts'
import type { Held, Lock } from './lock.ts'
import { busy, HERE } from './lock.ts'

/** A client of ioredis: `Redis` or `Cluster`. Several independent servers make the lock outlive some of them. */
export interface RedlockClient {
  evalsha(...args: never[]): Promise<unknown>
  eval(...args: never[]): Promise<unknown>
  disconnect(): void
  on(event: 'error', hear: (error: unknown) => void): unknown
  readonly isCluster?: boolean
}

// Package redlock 5 has types, but its exports don't lead to them.
interface RedlockHeld {
  readonly expiration: number
  release(): Promise<unknown>
}
interface Redlock {
  acquire(keys: string[], ms: number, settings: RedlockSettings): Promise<RedlockHeld>
}
interface RedlockSettings {
  retryCount: number
  retryDelay: number
  retryJitter: number
  driftFactor?: number
}

// Locks are held for a few milliseconds; to ask again much later than that would leave them unused.
const RETRY = { retryDelay: 15, retryJitter: 10 }
// What the clocks of the servers and ours may drift apart, and the rounding of a time to live.
const DRIFT = { factor: 0.01, ms: 2 }

export function redlockLock(clients: readonly RedlockClient[]): Lock {
  if (!Array.isArray(clients) || clients.length === 0) {
    throw new DeferqError(
      'INVALID_OPTION',
      'redlockLock() takes a list of ioredis clients: [new Redis(url)].',
    )
  }
  // ioredis prints what nobody hears, and the calls tell it anyway.
  for (const client of clients) client.on('error', () => {})
  let loading: Promise<Redlock> | undefined
  const apart = clients.some(({ isCluster }) => isCluster === true)

  /** In turn and in order where the keys lie on several nodes, else all in one script. */
  async function take(keys: readonly string[], holdMs: number, deadline: number): Promise<Held> {
    loading ??= load(clients)
    const redlock = await loading
    if (!apart) return takeTogether(redlock, keys, holdMs, deadline)
    const taken: Held[] = []
    try {
      for (const key of keys) taken.push(await takeTogether(redlock, [key], holdMs, deadline))
    } catch (error) {
      await Promise.all(taken.map((held) => held.release()))
      throw error
    }
    return {
      leftMs: () => Math.min(...taken.map((held) => held.leftMs())),
      release: async () => void (await Promise.all(taken.map((held) => held.release()))),
    }
  }

  return {
    caveats: [],
    async acquire(keys, holdMs, waitMs) {
      const deadline = environment.monotonic() + waitMs
      // Those of this process stand in line here, so that they don't ask the servers again and again.
      const here = await HERE.acquire(keys, holdMs, waitMs)
      try {
        const there = await take(keys, holdMs, deadline)
        return {
          leftMs: there.leftMs,
          release: async () => {
            await there.release()
            await here.release()
          },
        }
      } catch (error) {
        await here.release()
        throw error
      }
    },
    async close() {
      for (const client of clients) client.disconnect()
    },
  }
}

async function takeTogether(
  redlock: Redlock,
  keys: readonly string[],
  holdMs: number,
  deadline: number,
): Promise<Held> {
  const asked = environment.monotonic()
  const waitMs = Math.max(1, deadline - asked)
  const settings = { ...RETRY, retryCount: Math.ceil(waitMs / RETRY.retryDelay) }
  // One attempt at a time: redlock counts its attempts, not their time.
  const acquiring = redlock.acquire([...keys], holdMs, settings)
  const lock = await within(
    acquiring,
    waitMs,
    (cause) => busy(keys, waitMs, cause),
    (late) => {
      late.release().catch(() => {})
    },
  )
  // By the clock that goes on while the process is frozen, and that nobody sets.
  const until = asked + holdMs - holdMs * DRIFT.factor - DRIFT.ms
  let released = false
  return {
    leftMs: () =>
      released ? 0 : Math.min(until - environment.monotonic(), lock.expiration - environment.now()),
    release: async () => {
      released = true
      // A server that does not answer must keep nobody waiting; there the key runs out.
      await within(lock.release(), 1_000, (cause) => busy(keys, 1_000, cause)).catch(() => {})
    },
  }
}

async function load(clients: readonly RedlockClient[]): Promise<Redlock> {
  let made: { default: new (clients: readonly RedlockClient[]) => Redlock }
  try {
    // @ts-expect-error: its types can't be found from an ES module
    made = (await import('redlock')) as never
  } catch (cause) {
    throw new DeferqError(
      'MISSING_DEPENDENCY',
      'redlockLock() needs the package redlock: npm install redlock@5.0.0-beta.2',
      {
        cause,
      },
    )
  }
  return new made.default(clients)
}

/** What comes too late is handed to `drop`. */
function within<T>(
  promise: Promise<T>,
  ms: number,
  failure: (cause: unknown) => DeferqError,
  drop: (late: T) => void = () => {},
): Promise<T> {
  return new Promise((resolve, reject) => {
    let over = false
    const timer = environment.setTimeout(() => {
      over = true
      reject(failure(undefined))
    }, ms)
    promise.then(
      (value) => {
        environment.clearTimeout(timer)
        if (over) drop(value)
        else resolve(value)
      },
      (error) => {
        environment.clearTimeout(timer)
        reject(failure(error))
      },
    )
  })
}
