// The view of a store that the lifecycle rules work on: records to read and change, and events that the store hears.
import type { Attended, Draft, Entry, FollowUp, Parent, Status, Total } from '../engine.ts'
import { isEnded, KEY_LENGTH } from '../engine.ts'

/**
 * Where a run lies.
 *
 * | place | meaning |
 * |---|---|
 * | `stands` | under its key: the current or last run |
 * | `accepted` | replaced under its key, but its result still answers dispatches |
 * | `behind` | waits for the run under its key to end (`rerunAfter`) |
 * | `aside` | found by its id alone |
 */
export type Place = 'stands' | 'accepted' | 'behind' | 'aside'

/** All that a store keeps of a run. Times are milliseconds of the store's clock. */
export interface RunRecord extends Entry {
  place: Place
  /** A moment of the wall clock at which the run is due, if the caller named one. `dueAt` follows it when the wall clock jumps. */
  runAt?: number | undefined
  /** The present attempt's token. */
  token?: string | undefined
  /** The token of the attempt that was settled last: a repeated settle is answered as the first one was. */
  lastToken?: string | undefined
  leaseUntil: number
  /** Until when a failure answers dispatches. */
  rememberedUntil: number
  /** From when on the record may be removed; 0 while the run lives. */
  expiresAt: number
  attended?: (Attended & { until: number }) | undefined
}

/** The runs of one key. `accepted` holds the usable result; it is often `run` itself. */
export interface Slot<Run extends RunRecord = RunRecord> {
  run?: Run | undefined
  accepted?: Run | undefined
  /** Waits behind `run`. */
  next?: Run | undefined
}

/**
 * A store, for the time of one atomic step. The rules read and write through it only, so that a step can be thrown away:
 * a ledger that lacks a record answers as if there were none, marks the step void, loads the record and calls the rule again.
 */
export interface Ledger<Run extends RunRecord = RunRecord> {
  /** The store's clock; the same for the whole step. */
  readonly now: number
  /** The wall clock minus the store's clock; 0 if the store follows the wall clock. */
  readonly wallAhead: number

  /** The same object for the same key throughout a step. */
  slot(key: string): Slot<Run>
  slotOf(run: Run): Slot<Run>
  run(id: string): Run | undefined
  /** The follow-ups that wait for the run to end. */
  followUps(run: Run): Iterable<FollowUp>

  /** A new record from a draft: pending, with no attempt, and not stored yet. `slot` is the one of its key. */
  make(draft: Draft, parent: Parent | undefined, slot: Slot<Run>): Run
  /** Stores a new record, or gives a stored one another place. */
  put(run: Run, place: Place): void
  addFollowUp(run: Run, follow: FollowUp): void
  dropFollowUps(run: Run): void

  /** A pending run needs a ticket with its present priority and due time; earlier tickets of it are void. */
  ready(run: Run): void
  /** The run's status changed from `before`; undefined at its birth. Counters and leases follow it. */
  moved(run: Run, before: Status | undefined): void
  /** The run has ended: whoever watches it is told. */
  ended(run: Run): void
  /** The worker that runs it is told to stop. */
  cancelled(run: Run): void
  /** The instance that asks hears of the run's end. */
  watched(run: Run): void
  /** `run.attended` changed. */
  attended(run: Run): void
  total(total: Total): void
}

export const isLive = (run: RunRecord): boolean => !isEnded(run.status)

export const keyOf = (id: string): string => id.slice(0, KEY_LENGTH)

/** A moment of the wall clock, by the store's clock. */
export const fromWall = (ledger: Ledger, moment: number): number => moment - ledger.wallAhead

/** The wall clock's time of this step, for people who read it. */
export const wallNow = (ledger: Ledger): number => ledger.now + ledger.wallAhead

/** When a draft's run is due: never in the past, and at most `maxDelayMs` after the run was created. */
export function dueOf(ledger: Ledger, draft: Draft, createdAt = ledger.now): number {
  const { now } = ledger
  const wanted = draft.dueAt === undefined ? now + draft.delayMs : fromWall(ledger, draft.dueAt)
  return Math.max(now, Math.min(wanted, createdAt + (draft.maxDelayMs ?? Number.POSITIVE_INFINITY)))
}
