// The memory engine's records of runs, and the copies of them that it answers with.
import type { Attended, Draft, Entry, FollowUp, Parent, Standing, Verdict } from '../engine.ts'
import { isEnded } from '../engine.ts'
import type { Hearing } from './memory-lanes.ts'

/** Each field is there from the beginning, so that all runs keep one shape; what few runs need is made when they do. */
export interface Run extends Entry {
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

export function runOf(draft: Draft, seq: number, now: number, parent: Parent | undefined): Run {
  const { id, name, queue, priority, params, policy, extra, group, attended } = draft
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
    finishedAt: undefined,
    progress: undefined,
    result: undefined,
    freshUntil: undefined,
    staleUntil: undefined,
    errors: NONE,
    params,
    policy,
    extra,
    group,
    parent,
    seq,
    ticket: 0,
    token: undefined,
    lastToken: undefined,
    leaseUntil: 0,
    rememberedUntil: 0,
    expiresAt: 0,
    owner: undefined,
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
  const errors = [...run.errors]
  const standing: Standing = { id, name, queue, status, priority, attempt, createdAt, dueAt, errors }
  if (run.startedAt !== undefined) standing.startedAt = run.startedAt
  if (run.finishedAt !== undefined) standing.finishedAt = run.finishedAt
  if (run.progress !== undefined) standing.progress = run.progress
  if (status === 'completed') {
    standing.result = run.result as string
    standing.freshUntil = run.freshUntil as number
    standing.staleUntil = run.staleUntil as number
  }
  return standing
}

export function entryOf(run: Run): Entry {
  const entry: Entry = { ...standingOf(run), params: run.params, policy: { ...run.policy } }
  if (run.extra !== undefined) entry.extra = run.extra
  if (run.group !== undefined) entry.group = run.group
  if (run.parent !== undefined) entry.parent = run.parent
  return entry
}

export function verdict(
  outcome: Verdict['outcome'],
  run: Run,
  more: { sameParams?: boolean; refreshId?: string; freshMs?: number } = {},
): Verdict {
  return { outcome, entry: standingOf(run), sameParams: true, ...more }
}
