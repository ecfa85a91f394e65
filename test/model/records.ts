// The records of the model: what a store has to remember of a run, and what lies under a key.
import type { Attended, Draft, FollowUp, Parent, Policy, Status } from '../../src/contract/engine.ts'

export type Place = 'stands' | 'accepted' | 'behind' | 'aside'

export interface ModelRun {
  id: string
  key: string
  name: string
  queue: string
  group: string | undefined
  params: string
  extra: string | undefined
  policy: Policy
  parent: Parent | undefined
  priority: number
  status: Status
  attempt: number
  /** The order of births: the number of the command, then of the birth within it. */
  birth: readonly [command: number, birth: number]
  createdAt: number
  dueAt: number
  startedAt?: number
  finishedAt?: number
  progress?: string
  result?: string
  freshUntil?: number
  staleUntil?: number
  errors: string[]
  /** The present attempt. */
  token: string | undefined
  leaseUntil: number
  /** The attempts that were settled, the last one last. */
  settledTokens: string[]
  /** Until when a failure answers drafts. */
  rememberedUntil: number
  attended: (Attended & { until: number }) | undefined
  followUps: FollowUp[]
  /** True: its result or failure was invalidated. A store may keep it under its key for readers, or not. */
  forgotten?: true
}

/** The three places of a key. `accepted` is the usable result, often that of `stands`. */
export interface UnderKey {
  stands?: ModelRun | undefined
  accepted?: ModelRun | undefined
  behind?: ModelRun | undefined
}

export const keyOf = (id: string): string => id.slice(0, 64)

export const isLive = ({ status }: ModelRun): boolean => status === 'pending' || status === 'running'

export const MAX_ERRORS = 10

/** When a draft's run is due: now at the earliest, and no later than `maxDelayMs` after its birth. */
export function dueOf(draft: Draft, now: number, createdAt: number): number {
  const wanted = draft.dueAt ?? now + draft.delayMs
  const latest = draft.maxDelayMs === undefined ? Number.POSITIVE_INFINITY : createdAt + draft.maxDelayMs
  return Math.max(now, Math.min(wanted, latest))
}

export function newRun(
  draft: Draft,
  birth: ModelRun['birth'],
  now: number,
  parent: Parent | undefined,
): ModelRun {
  const { id, name, queue, group, params, extra, policy, priority, attended, then = [] } = draft
  return {
    id,
    key: keyOf(id),
    name,
    queue,
    group,
    params,
    extra,
    policy,
    parent,
    priority,
    status: 'pending',
    attempt: 0,
    birth,
    createdAt: now,
    dueAt: dueOf(draft, now, now),
    errors: [],
    token: undefined,
    leaseUntil: 0,
    settledTokens: [],
    rememberedUntil: 0,
    attended: attended && { ...attended, until: now + attended.ms },
    followUps: [...then],
  }
}
