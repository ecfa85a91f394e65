// The part of a draft that all dispatches of one task share: its policy, and the options about duplicates.

import { DeferqError } from '../base/errors.ts'
import type { Duration } from '../base/time.ts'
import { durationMs } from '../base/time.ts'
import type { Draft, Policy } from '../contract/engine.ts'
import type { Contention } from '../tasks/duplicates.ts'
import { contentionOf } from '../tasks/duplicates.ts'
import type { DispatchOptions } from '../tasks/options.ts'
import type { AnyTask, SharedOptions } from '../tasks/task.ts'
import type { HotKeys } from '../values/key-cache.ts'

/** What is the same for every plain dispatch of a task, worked out once. */
export interface Base {
  task: AnyTask | undefined
  /** Those of the task over those for all tasks. */
  options: SharedOptions
  policy: Policy
  queue: string
  priority: number
  delayMs: number
  onMismatch: 'join' | 'reject'
  contention: Contention | undefined
  groupOf: ((params: unknown) => string) | undefined
  /** Where nothing but name and params makes the key. */
  hot: HotKeys | undefined
}

/** What a dispatch says about duplicates and those who wait comes before what the task says. */
export function contend(draft: Draft, options: DispatchOptions | undefined, base: Base): void {
  let { contention } = base
  const { debounce, onDuplicate, onAbandoned } = options ?? {}
  if ((debounce ?? onDuplicate ?? onAbandoned) !== undefined) {
    const own = stripped({ debounce, onDuplicate, onAbandoned })
    const all: SharedOptions = { ...base.options, ...own }
    // Of two that exclude each other the nearer one counts.
    if (onDuplicate !== undefined && debounce === undefined) delete all.debounce
    contention = contentionOf(all)
  }
  if (contention === undefined) return
  Object.assign(draft, contention)
  if (contention.refresh === undefined) return
  delete draft.onMismatch
  if ((options?.delay ?? options?.runAt) !== undefined) {
    throw new DeferqError(
      'INVALID_OPTION',
      `dispatch('${draft.name}'): the task is debounced, which decides when it runs: leave out delay and runAt.`,
    )
  }
}

export function stripped<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}

export const DEFAULT_POLICY: Policy = {
  maxAttempts: 3,
  resultTtlMs: 3_600_000,
  staleTtlMs: 0,
  failureTtlMs: 0,
  retentionMs: 3_600_000,
}

// Those who wait for a run have to be able to read how it ended, also when the hint was lost and a poll finds it.
export const MIN_RETENTION_MS = 10_000

export function policyOf(options: SharedOptions, base: Policy): Policy {
  const { retries, resultTtl, staleTtl, failureTtl, retention, throttle } = options
  // The very same object where nothing differs: drafts of one policy are told by identity.
  if ((retries ?? resultTtl ?? staleTtl ?? failureTtl ?? retention ?? throttle) === undefined) return base
  const ms = (value: Duration | undefined, fallback: number, option: string): number =>
    value === undefined ? fallback : durationMs(value, option)
  const policy: Policy = {
    maxAttempts: retries === undefined ? base.maxAttempts : retries + 1,
    resultTtlMs: ms(resultTtl, base.resultTtlMs, 'resultTtl'),
    staleTtlMs: ms(staleTtl, base.staleTtlMs, 'staleTtl'),
    failureTtlMs: ms(failureTtl, base.failureTtlMs, 'failureTtl'),
    retentionMs: Math.max(MIN_RETENTION_MS, ms(retention, base.retentionMs, 'retention')),
  }
  const everyMs = ms(throttle?.every, base.everyMs ?? 0, 'throttle.every')
  if (everyMs > 0) policy.everyMs = everyMs
  return policy
}
