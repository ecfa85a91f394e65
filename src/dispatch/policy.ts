// The policy of a run from the options of its task and its dispatch: attempts, lifetimes of results, retention.
import type { Duration } from '../base/time.ts'
import { durationMs } from '../base/time.ts'
import type { Policy } from '../contract/engine.ts'
import type { SharedOptions } from '../tasks/task.ts'

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
