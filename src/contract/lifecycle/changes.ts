// Changes to runs from outside: another due time or priority, a promotion, and forgetting what a key has answered.
import type { PromoteAnswer } from '../engine.ts'
import { advanceNext } from './births.ts'
import type { Ledger, RunRecord } from './ledger.ts'
import { isLive } from './ledger.ts'

/** Another due time or priority. A running run, and one that waits behind another, has no ticket to replace. */
export function reschedule<Run extends RunRecord>(
  ledger: Ledger<Run>,
  run: Run,
  dueAt: number,
  priority: number,
): void {
  if (dueAt === run.dueAt && priority === run.priority) return
  run.dueAt = dueAt
  run.priority = priority
  if (run.status === 'pending' && run.place !== 'behind') ledger.ready(run)
}

/** A pending run is due at once, and its priority is at least `priority`. */
export function promote<Run extends RunRecord>(
  ledger: Ledger<Run>,
  run: Run | undefined,
  priority: number | undefined,
): PromoteAnswer {
  if (run === undefined) return 'unknown'
  if (!isLive(run)) return 'ended'
  if (run.status === 'running') return 'running'
  run.runAt = undefined
  const least = priority ?? Number.NEGATIVE_INFINITY
  reschedule(ledger, run, Math.min(run.dueAt, ledger.now), Math.max(run.priority, least))
  return 'due'
}

/**
 * Forgets the result and the remembered failure of a key; answers whether that changed anything. A running run is moved
 * aside: it still answers those who wait for it, and its result is not cached.
 */
export function invalidate<Run extends RunRecord>(ledger: Ledger<Run>, key: string): boolean {
  const { now } = ledger
  const slot = ledger.slot(key)
  const { run, accepted } = slot
  let changed = false
  if (accepted !== undefined) {
    if (now < (accepted.staleUntil as number)) {
      accepted.freshUntil = Math.min(now, accepted.freshUntil as number)
      accepted.staleUntil = now
      changed = true
    }
    slot.accepted = undefined
    ledger.put(accepted, accepted === run ? 'stands' : 'aside')
  }
  if (run?.status === 'failed' && now < run.rememberedUntil) {
    run.rememberedUntil = now
    ledger.put(run, 'stands')
    changed = true
  }
  if (run?.status === 'running') {
    slot.run = undefined
    ledger.put(run, 'aside')
    advanceNext(ledger, run)
    changed = true
  }
  return changed
}
