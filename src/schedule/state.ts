// What is kept of a schedule: the params of its run, which is pending until its next occurrence; and where that run lies.

import { DeferqError } from '../base/errors.ts'
import { LAST_MOMENT_MS } from '../base/time.ts'
import type { Draft, Entry, FollowUp, Policy } from '../contract/engine.ts'
import type { Extra } from '../dispatch/run-extras.ts'
import { readExtra } from '../dispatch/run-extras.ts'
import { keyInGroup } from '../tasks/duplicates.ts'
import { fingerprint, followUpKey, idOf, newRun } from '../values/fingerprint.ts'
import type { Timing } from './timing.ts'

export const SCHEDULE = 'deferq.schedule'
const QUEUE = 'deferq'
/** For what is paused. */
export const NEVER = LAST_MOMENT_MS

/** What an occurrence is made of: a draft without an address. */
export type Template = Omit<Draft, 'id' | 'then'> & {
  then?: (Omit<FollowUp, 'draft'> & { draft: Template })[]
}

/** What becomes of occurrences for which no worker was there: none, the last one, or each (up to `cap`) is made up for. */
export type Missed = 'skip' | 'one' | 'all'

/** What somebody has said of it: equal texts are equal definitions. */
export interface Definition {
  key: string
  timing: Timing
  missed: Missed
  cap: number
  draft: Template
}

export interface State extends Definition {
  paused: boolean
  /** Occurrences up to here have been seen to; from the run's creation on, unless given. */
  since?: number
  /** Of an earlier timing: what was due before it was replaced. */
  owed?: { timing: Timing; since: number }
  /** The last occurrence that was made a task. */
  last?: number
}

// Nobody waits for the run itself, and it never ends by attempts. When it was replaced it is to be found for a moment.
const POLICY: Policy = {
  maxAttempts: 1_000_000_000,
  resultTtlMs: 0,
  staleTtlMs: 0,
  failureTtlMs: 0,
  retentionMs: 60_000,
}

export const keyOfSchedule = (key: string): string =>
  fingerprint({ name: SCHEDULE, params: null, idempotencyKey: key }).key

/** Due at once, or never where it is paused: the first tick finds out when the next occurrence is. */
export function draftOf(state: State): Draft {
  const draft: Draft = {
    id: idOf(keyOfSchedule(state.key), newRun()),
    name: SCHEDULE,
    queue: QUEUE,
    params: textOf(state),
    priority: 0,
    policy: POLICY,
    delayMs: 0,
  }
  return state.paused ? { ...draft, dueAt: NEVER } : draft
}

export const textOf = (state: State): string => JSON.stringify(state)

export function stateOf({ params, id }: Entry): State {
  try {
    const state = JSON.parse(params) as State
    if (typeof state.key === 'string' && typeof state.draft.name === 'string') return state
  } catch {
    // Said below.
  }
  throw new DeferqError(
    'MALFORMED_VALUE',
    `The schedule at ${id.slice(0, 12)}… can't be read: something other than deferq wrote it, or another version.`,
  )
}

export function isSame(a: Definition, b: Definition): boolean {
  const text = ({ key, timing, missed, cap, draft }: Definition): string =>
    JSON.stringify([key, timing, missed, cap, sorted(draft)])
  return text(a) === text(b)
}

/** Told by its schedule and its time: whoever makes it, and however often, makes the same one. */
export function occurrenceOf(state: State, at: number): Draft {
  const { key, draft } = state
  return addressed(draft, keyOfSchedule(key), String(at), { schedule: key, at })
}

/** One that somebody asked for, of its own. */
export function extraOccurrenceOf({ key, draft }: State): Draft {
  return addressed(draft, keyOfSchedule(key), newRun(), { schedule: key })
}

function addressed(
  { then, ...template }: Template,
  parentKey: string,
  seed: string,
  occurrence?: Extra['occurrence'],
): Draft {
  const { name, group } = template
  const near = followUpKey(parentKey, `${parentKey} ${seed}`)
  const key = group === undefined ? near : keyInGroup(near, name, group)
  const id = idOf(key, followUpKey(key, seed).slice(8, 32))
  const draft: Draft = { ...template, id }
  if (occurrence !== undefined) draft.extra = JSON.stringify({ ...readExtra(template.extra), occurrence })
  if (then !== undefined)
    draft.then = then.map((follow, index) => ({ ...follow, draft: addressed(follow.draft, key, `${index}`) }))
  return draft
}

/** In one order of properties, whoever wrote them. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort()
      .map(([name, each]) => [name, sorted(each)]),
  )
}
