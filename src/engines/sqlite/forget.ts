// Cancelling runs, and forgetting results and remembered failures.
import type { CancelAnswer, Selector } from '../../contract/engine.ts'
import type { Row, Run } from './rows.ts'
import {
  ACCEPTED,
  asideOf,
  CANCELLED,
  FULL_ROW,
  isGone,
  isLive,
  isRemembered,
  isUsable,
  LIGHT_ROW,
  RUNNING,
  STANDS,
} from './rows.ts'
import type { Step } from './step.ts'
import type { Slot } from './step-cache.ts'

export function cancel(step: Step, ids: readonly string[], reason: string | undefined): CancelAnswer[] {
  step.load(ids)
  return ids.map((id, index) => {
    const run = step.run(id)
    if (run === undefined || isGone(run, step.now)) return 'unknown'
    if (run.status === CANCELLED) return 'cancelled'
    if (!isLive(run)) return 'ended'
    const followed = run.tied !== 0
    step.cancel(run, reason)
    if (followed) {
      // What this end has called for may be the next to be cancelled.
      step.flush()
      step.load(ids.slice(index + 1))
    }
    return 'cancelled'
  })
}

export function invalidateKeys(step: Step, keys: readonly string[]): number {
  // An id that nobody has, as wide as the others: only what stands under the key is read.
  const ids = [...new Set(keys)].map((key) => key + 'f'.repeat(24))
  step.load(ids)
  return ids.filter((id) => forget(step, step.slot(id))).length
}

/** Where a pass over all runs of a name has got to; each step of it takes so many that others get their turn. */
export interface Pass {
  lane: number
  expiresAt: number
  seq: number
  /** What ended later has not seen the invalidation's cause. */
  until: number
}

const PASS_ROWS = 500

/** Answers whether there is more. */
export function invalidateName(step: Step, name: string, pass: Pass, forgotten: Set<string>): boolean {
  const { connection } = step
  const first = pass.lane === 0
  const rows: Row[] = []
  if (first) rows.push(...(connection.statement(RUNNING_OF_NAME).all(name) as Row[]))
  const room = PASS_ROWS
  const lanes = connection.statement(LANES_OF_NAME).all(name, pass.lane) as { id: number }[]
  let more = false
  let found = 0
  for (const { id } of lanes) {
    if (id !== pass.lane) Object.assign(pass, { lane: id, expiresAt: step.now, seq: Number.MAX_SAFE_INTEGER })
    const place = [id, pass.expiresAt, pass.seq, pass.until, room - found] as const
    const some = connection.statement(ENDED_OF_LANE).all(...place) as (Row & {
      expires_at: number
      seq: number
    })[]
    rows.push(...some)
    found += some.length
    const last = some.at(-1)
    if (last !== undefined) Object.assign(pass, { expiresAt: last.expires_at, seq: last.seq })
    if (found >= room) {
      more = true
      break
    }
  }
  for (const run of step.take(rows)) {
    if (forgetRun(step, run)) forgotten.add(run.id.slice(0, 64))
  }
  return more
}

function forget(step: Step, { run, older }: Slot): boolean {
  const forgot = [run, older].map((each) => each !== undefined && forgetRun(step, each))
  return forgot.includes(true)
}

/** Moved aside, so that nothing finds it by its key. A pending run stays: it has not looked at anything yet. */
function forgetRun(step: Step, run: Run): boolean {
  const { now } = step
  if (isUsable(run, now)) {
    run.freshUntil = Math.min(now, run.freshUntil as number)
    run.staleUntil = now
  } else if (
    !(run.status === RUNNING && run.slot === STANDS) &&
    !(isRemembered(run, now) && !isGone(run, now))
  ) {
    // An older result that is of no use any more must not stand alone under its key.
    if (run.slot === ACCEPTED) step.place(run, asideOf(run.id))
    return false
  }
  const stood = run.slot === STANDS
  step.place(run, asideOf(run.id))
  if (stood) step.advanceNext(run)
  return true
}

export function announce(step: Step, selector: Selector, origin: string): void {
  step.connection.statement(ANNOUNCE).run(step.now, origin, JSON.stringify(selector))
  step.news.invalidated = selector
}

const RUNNING_OF_NAME = `
  SELECT ${FULL_ROW} FROM runs r JOIN lanes l ON l.id = r.lane
  WHERE r.status = 1 AND r.slot = 0 AND l.name = ?`
const LANES_OF_NAME = 'SELECT id FROM lanes WHERE name = ? AND id >= ? ORDER BY id'
// In: lane, the last row's expiry and number, the latest end, how many.
const ENDED_OF_LANE = `
  SELECT r.expires_at, r.seq, ${LIGHT_ROW} FROM runs r
  WHERE r.status >= 2 AND r.lane = ?1 AND r.expires_at >= ?2 AND (r.expires_at > ?2 OR r.seq > ?3)
    AND r.slot IN (0, 1) AND r.finished_at <= ?4
  ORDER BY r.expires_at, r.seq LIMIT ?5`
const ANNOUNCE = 'INSERT INTO news (at, origin, selector) VALUES (?, ?, ?)'
