// Locks over several keys at once: what keeps two processes from deciding about one key at the same time.
import { environment } from '../../base/environment.ts'
import { DeferqError } from '../../base/errors.ts'

/** A lock of your own needs no more than this. */
export interface Lock {
  /** What it can't promise; empty when a key that it has given is nobody else's until it is given back or runs out. */
  readonly caveats: readonly string[]
  /** Takes all of these keys for `holdMs`, or none; STORE_UNAVAILABLE when they could not be had within `waitMs`. */
  acquire(keys: readonly string[], holdMs: number, waitMs: number): Promise<Held>
  close?(): Promise<void>
}

export interface Held {
  /** How long the keys are ours for certain, in milliseconds; 0 and less: they may be another's by now. */
  leftMs(): number
  /** Never rejects: what can't be given back runs out by itself. */
  release(): Promise<void>
}

interface Waiting {
  keys: readonly string[]
  grant(): void
}

/** A lock within this process. */
export function memoryLock(): Lock {
  const taken = new Set<string>()
  const waiting = new Set<Waiting>()
  const isFree = (keys: readonly string[]): boolean => !keys.some((key) => taken.has(key))

  function take(keys: readonly string[]): Held {
    for (const key of keys) taken.add(key)
    let released = false
    return {
      leftMs: () => (released ? 0 : Number.POSITIVE_INFINITY),
      release: async () => {
        if (released) return
        released = true
        for (const key of keys) taken.delete(key)
        // In the order in which they came.
        for (const next of waiting) if (isFree(next.keys)) next.grant()
      },
    }
  }

  return {
    caveats: ['Its lock holds within one process: others must not use the same stores.'],
    async acquire(keys, _holdMs, waitMs) {
      if (isFree(keys)) return take(keys)
      return new Promise<Held>((resolve, reject) => {
        const next: Waiting = {
          keys,
          grant: () => {
            waiting.delete(next)
            environment.clearTimeout(timer)
            resolve(take(keys))
          },
        }
        waiting.add(next)
        const timer = environment.setTimeout(() => {
          waiting.delete(next)
          reject(busy(keys, waitMs))
        }, waitMs)
      })
    },
  }
}

/** One for the whole process: engines that share their stores exclude each other without being told of each other. */
export const HERE = memoryLock()

export function busy(keys: readonly string[], waitMs: number, cause?: unknown): DeferqError {
  return new DeferqError(
    'STORE_UNAVAILABLE',
    `The lock of ${keys.length === 1 ? keys[0] : `${keys.length} keys`} could not be had within ${Math.round(waitMs)} ms: ` +
      'others hold it for that long, or the lock’s servers do not answer.',
    { cause },
  )
}
