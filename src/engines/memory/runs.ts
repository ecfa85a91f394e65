// The memory engine's records of runs, and the copies of them that it answers with.
import type { Attended, Draft, Entry, FollowUp, Parent, Standing, Verdict } from '../../contract/engine.ts'
import { isEnded } from '../../contract/engine.ts'
import type { Hearing } from './lanes.ts'

/** Each field is there from the beginning, so that all runs keep one shape; what few runs need is made when they do. */
export interface Run extends Entry {
  /** Where it was made; it may stand there no longer, and the slot be forgotten. */
  readonly slot: Slot
  seq: number
  /** The one valid ticket in a lane or among the delayed; older ones are passed over. */
  ticket: number
  token?: string
  lastToken?: string
  leaseUntil: number
  rememberedUntil: number
  expiresAt: number
  owner?: Hearing
  attended?: Attended & { until: number }
  watchers?: Set<Hearing>
  followUps?: Map<string, FollowUp>
}

/** What stands under a key. `accepted` is the run whose result is fresh or usable; often `run` itself. */
export interface Slot {
  run?: Run
  accepted?: Run
  /** Waits behind `run`. */
  next?: Run
}

export const isLive = (run: Run): boolean => !isEnded(run.status)

/** Put off no longer than its `maxDelayMs` after the moment of its creation. */
export const dueOf = (draft: Draft, now: number, createdAt = now): number =>
  Math.max(now, Math.min(draft.dueAt ?? now + draft.delayMs, createdAt + (draft.maxDelayMs ?? Infinity)))

export function runOf(draft: Draft, slot: Slot, seq: number, now: number, parent: Parent | undefined): Run {
  const { id, name, queue, priority, params, policy, extra, group, attended } = draft
  // First what each claim and each end look at: beside a million others, little of that is near.
  return {
    id,
    name,
    queue,
    status: 'pending',
    priority,
    attempt: 0,
    createdAt: now,
    dueAt: dueOf(draft, now),
    startedAt: undefined,
    errors: NONE,
    params,
    policy,
    slot,
    seq,
    ticket: 0,
    token: undefined,
    lastToken: undefined,
    leaseUntil: 0,
    owner: undefined,
    group,
    finishedAt: undefined,
    result: undefined,
    freshUntil: undefined,
    staleUntil: undefined,
    expiresAt: 0,
    rememberedUntil: 0,
    extra,
    parent,
    progress: undefined,
    attended: attended && { ...attended, until: now + attended.ms },
    watchers: undefined,
    followUps: draft.then?.length
      ? new Map(draft.then.map((follow) => [follow.draft.id, follow]))
      : undefined,
  }
}

const NONE: string[] = []

export function standingOf(run: Run): Standing {
  const { id, name, queue, status, priority, attempt, createdAt, dueAt } = run
  const errors = run.errors.slice()
  return withTimes({ id, name, queue, status, priority, attempt, createdAt, dueAt, errors }, run)
}

/** Written out, since to spread what `standingOf` answers takes as long as all the rest of a claim. */
export function entryOf(run: Run): Entry {
  const { id, name, queue, status, priority, attempt, createdAt, dueAt, params } = run
  const errors = run.errors.slice()
  const policy = { ...run.policy }
  const entry: Entry = {
    id,
    name,
    queue,
    status,
    priority,
    attempt,
    createdAt,
    dueAt,
    errors,
    params,
    policy,
  }
  withTimes(entry, run)
  if (run.extra !== undefined) entry.extra = run.extra
  if (run.group !== undefined) entry.group = run.group
  if (run.parent !== undefined) entry.parent = run.parent
  return entry
}

function withTimes<Shown extends Standing>(shown: Shown, run: Run): Shown {
  if (run.startedAt !== undefined) shown.startedAt = run.startedAt
  if (run.finishedAt !== undefined) shown.finishedAt = run.finishedAt
  if (run.progress !== undefined) shown.progress = run.progress
  if (run.status === 'completed') {
    shown.result = run.result as string
    shown.freshUntil = run.freshUntil as number
    shown.staleUntil = run.staleUntil as number
  }
  return shown
}

export function verdict(
  outcome: Verdict['outcome'],
  run: Run,
  more: { sameParams?: boolean; refreshId?: string; freshMs?: number } = {},
): Verdict {
  return { outcome, entry: standingOf(run), sameParams: true, ...more }
}
