// The memory engine's records of runs, and the copies of them that it answers with.
import type { Draft, Entry, FollowUp, Parent, Standing, Verdict } from '../../contract/engine.ts'
import type { Decision } from '../../contract/lifecycle/admit.ts'
import type { RunRecord, Slot } from '../../contract/lifecycle/ledger.ts'
import type { Hearing } from '../../drivers/lanes.ts'

/** Every field is there from the beginning, so that all runs have one shape. */
export interface Run extends RunRecord {
  readonly slot: Slot<Run>
  /** The order of admission: of equal priority and due time, the lower is claimed first. */
  readonly seq: number
  /** The number of the one valid ticket; claims skip tickets with other numbers. */
  ticket: number
  /** The connection whose worker runs it. */
  owner?: Hearing | undefined
  watchers?: Set<Hearing> | undefined
  followUps?: Map<string, FollowUp> | undefined
}

const NO_ERRORS: string[] = []

export function runOf(
  draft: Draft,
  slot: Slot<Run>,
  seq: number,
  now: number,
  dueAt: number,
  parent: Parent | undefined,
): Run {
  const { id, name, queue, priority, params, policy, extra, group, attended } = draft
  // Claims and ends read the first fields: beside a million other runs, little of a record is in the cache.
  return {
    id,
    name,
    queue,
    status: 'pending',
    priority,
    attempt: 0,
    createdAt: now,
    dueAt,
    startedAt: undefined,
    errors: NO_ERRORS,
    params,
    policy,
    slot,
    place: 'stands',
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
    runAt: draft.dueAt,
    extra,
    parent,
    progress: undefined,
    attended: attended && { ...attended, until: now + attended.ms },
    watchers: undefined,
    followUps: undefined,
  }
}

/** `wallAhead`: the moments in the answer are those of the wall clock. */
export function standingOf(run: Run, wallAhead: number): Standing {
  const { id, name, queue, status, priority, attempt, createdAt, dueAt } = run
  const errors = run.errors.slice()
  const standing = { id, name, queue, status, priority, attempt, createdAt, dueAt, errors }
  return withMoments(standing, run, wallAhead)
}

/** Written out: spreading the answer of `standingOf` takes as long as the rest of a claim. */
export function entryOf(run: Run, wallAhead: number): Entry {
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
  withMoments(entry, run, wallAhead)
  if (run.extra !== undefined) entry.extra = run.extra
  if (run.group !== undefined) entry.group = run.group
  if (run.parent !== undefined) entry.parent = run.parent
  return entry
}

function withMoments<Shown extends Standing>(shown: Shown, run: Run, wallAhead: number): Shown {
  if (run.startedAt !== undefined) shown.startedAt = run.startedAt
  if (run.finishedAt !== undefined) shown.finishedAt = run.finishedAt
  if (run.progress !== undefined) shown.progress = run.progress
  if (run.status === 'completed') {
    shown.result = run.result as string
    shown.freshUntil = run.freshUntil as number
    shown.staleUntil = run.staleUntil as number
  }
  if (wallAhead === 0) return shown
  for (const moment of ['createdAt', 'dueAt', 'startedAt', 'finishedAt', 'freshUntil', 'staleUntil'] as const)
    if (shown[moment] !== undefined) shown[moment] += wallAhead
  return shown
}

export function verdictOf(decision: Decision<Run>, wallAhead: number): Verdict {
  const { outcome, run, sameParams, refreshId, freshMs } = decision
  const verdict: Verdict = { outcome, entry: standingOf(run, wallAhead), sameParams }
  if (refreshId !== undefined) verdict.refreshId = refreshId
  if (freshMs !== undefined) verdict.freshMs = freshMs
  return verdict
}
