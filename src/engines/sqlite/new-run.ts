// A run as a draft wants it, before it is inserted.
import type { Draft, Parent } from '../../engine.ts'
import type { Lane, Run } from './rows.ts'
import { HAS_FOLLOW_UPS, IS_ATTENDED, PENDING } from './rows.ts'

/** Put off no longer than its `maxDelayMs` after its creation. */
export const dueOf = (draft: Draft, now: number, createdAt: number): number =>
  Math.max(now, Math.min(draft.dueAt ?? now + draft.delayMs, createdAt + (draft.maxDelayMs ?? Infinity)))

export function newRun(draft: Draft, lane: Lane, place: number, parent: Parent | null, now: number): Run {
  const { attended, then = [] } = draft
  return {
    seq: 0,
    id: draft.id,
    lane,
    status: PENDING,
    slot: place,
    tied: (then.length > 0 ? HAS_FOLLOW_UPS : 0) | (attended === undefined ? 0 : IS_ATTENDED),
    dueAt: dueOf(draft, now, now),
    createdAt: now,
    expiresAt: null,
    attempt: 0,
    policy: { ...draft.policy },
    startedAt: null,
    finishedAt: null,
    leaseUntil: null,
    attended: attended === undefined ? null : attended.ms * 2 + (attended.running ? 1 : 0),
    attendedUntil: attended === undefined ? null : now + attended.ms,
    freshUntil: null,
    staleUntil: null,
    token: null,
    done: null,
    errors: [],
    params: draft.params,
    extra: draft.extra ?? null,
    parent,
    progress: null,
    result: null,
  }
}
