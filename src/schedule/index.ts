// Schedules: tasks that recur by a cron expression or an interval, kept as runs of their own that any worker ticks.

import { DeferqError, errorToJson } from '../base/errors.ts'
import type { Engine, Entry, Verdict } from '../contract/engine.ts'
import { isEnded } from '../contract/engine.ts'
import type { Backend } from '../dispatch/backend.ts'
import { failureOf, failureText, receiptOf } from '../dispatch/receipt.ts'
import type { Failure, Receipt } from '../tasks/task.ts'
import type { ScheduleDefinition } from './define.ts'
import { definitionOf } from './define.ts'
import type { Missed, State } from './state.ts'
import {
  draftOf,
  extraOccurrenceOf,
  isSame,
  keyOfSchedule,
  occurrenceOf,
  SCHEDULE,
  stateOf,
  textOf,
} from './state.ts'
import { clockOf } from './timing.ts'

/** How a schedule stands. */
export interface Schedule {
  readonly key: string
  readonly name: string
  readonly cron?: string
  readonly timezone?: string
  readonly everyMs?: number
  readonly missed: Missed
  readonly paused: boolean
  /** By the store's clock; none while it is paused. */
  readonly nextAt?: Date
  /** The last occurrence, and its task: ask getStatus() for it. */
  readonly lastAt?: Date
  readonly lastTaskId?: string
  /** Ticks that failed, oldest first. */
  readonly history: readonly Failure[]
}

/** An equal definition changes nothing. A schedule whose timing changed begins anew, once what was due by the old one is seen to. */
export async function defineSchedule(
  backend: Backend,
  key: string,
  written: ScheduleDefinition,
): Promise<Schedule> {
  const definition = await definitionOf(backend, key, written)
  return edit(backend, key, (before) => {
    if (before === undefined) return { ...definition, paused: written.paused ?? false }
    const { state, entry } = before
    if (isSame(state, definition)) return undefined
    if (state.paused) return { ...definition, paused: true }
    const since = state.since ?? entry.createdAt
    const next: State = { ...definition, paused: false }
    if (state.last !== undefined) next.last = state.last
    if (JSON.stringify(state.timing) !== JSON.stringify(definition.timing))
      return { ...next, owed: state.owed ?? { timing: state.timing, since } }
    return { ...next, since, ...(state.owed && { owed: state.owed }) }
  })
}

export async function listSchedules(backend: Backend): Promise<Schedule[]> {
  const engine = await backend.open()
  const found: Entry[] = []
  let cursor: string | undefined
  do {
    const page = await engine.list({ name: SCHEDULE, limit: 1_000 }, cursor)
    found.push(...page.entries.filter(({ status }) => !isEnded(status)))
    cursor = page.cursor
  } while (cursor !== undefined)
  const all = await Promise.all(
    found.map((entry) =>
      scheduleOf(entry).catch((error: unknown) => {
        backend.logger.warn({ error, taskId: entry.id }, 'a schedule can’t be read, and is left out')
        return []
      }),
    ),
  )
  return all.flat().sort((a, b) => (a.key < b.key ? -1 : 1))
}

/** Undefined where there is none. */
export async function getSchedule(backend: Backend, key: string): Promise<Schedule | undefined> {
  const seen = await standing(backend, key)
  return seen && scheduleOf(seen.entry)
}

export const pauseSchedule = (backend: Backend, key: string): Promise<Schedule> =>
  edit(backend, key, (before) => {
    const { since: _, owed: __, ...state } = there(before, key)
    return state.paused ? undefined : { ...state, paused: true }
  })

/** What would have been due meanwhile is not made up for. */
export const resumeSchedule = (backend: Backend, key: string): Promise<Schedule> =>
  edit(backend, key, (before) => {
    const state = there(before, key)
    return state.paused ? { ...state, paused: false } : undefined
  })

/** One occurrence more, now; those to come stay as they are. */
export async function runSchedule(backend: Backend, key: string): Promise<Receipt> {
  const state = there(await standing(backend, key), key)
  const [verdict] = (await (await backend.open()).admit([extraOccurrenceOf(state)])) as [Verdict]
  return receiptOf(verdict.entry)
}

/** False where there was none. Tasks that it has made go on. */
export async function removeSchedule(backend: Backend, key: string): Promise<boolean> {
  const engine = await backend.open()
  const error = new DeferqError('TASK_CANCELLED', `The schedule '${key}' was removed.`)
  const { stack: _here, ...json } = errorToJson(error)
  for (let removed = false; ; removed = true) {
    const seen = await standing(backend, key)
    // What was redefined in the same moment goes as well.
    if (seen === undefined) return removed
    await engine.cancel([seen.entry.id], failureText(0, json))
  }
}

interface Seen {
  entry: Entry
  state: State
}

/**
 * A new run takes the place of the one that was read, in one atomic step; the outcome of a tick that is under way is refused
 * then. What had come in between, by somebody else, is looked at, and the change is made once more on top of that.
 */
async function edit(
  backend: Backend,
  key: string,
  change: (before: Seen | undefined) => State | undefined,
): Promise<Schedule> {
  const engine = await backend.open()
  let seen = await standing(backend, key)
  let ours: Entry | undefined
  for (;;) {
    const next = await changed(engine, change, seen, ours)
    if (next === undefined || (ours !== undefined && textOf(next) === ours.params))
      return scheduleOf(ours ?? (seen as Seen).entry)
    const draft = draftOf(next)
    const over = ours ?? seen?.entry
    if (over !== undefined) draft.onDuplicate = { pending: 'supersede', running: 'supersede' }
    const [verdict] = (await engine.admit([draft])) as [Verdict]
    if (verdict.entry.id !== draft.id) {
      seen = await standing(backend, key)
      continue
    }
    ours = { ...verdict.entry, params: draft.params, policy: draft.policy }
    if (over === undefined) return scheduleOf(ours)
    const replaced = await replacedBy(draft.id, over.id, engine)
    if (replaced?.id === over.id) return scheduleOf(ours)
    seen = replaced && { entry: replaced, state: stateOf(replaced) }
  }
}

/** Undefined where nothing is to be changed. A schedule that was removed in the meantime is not brought back by a pause. */
async function changed(
  engine: Engine,
  change: (before: Seen | undefined) => State | undefined,
  seen: Seen | undefined,
  ours: Entry | undefined,
): Promise<State | undefined> {
  try {
    return change(seen) ?? (ours && seen?.state)
  } catch (error) {
    if (ours !== undefined) await engine.cancel([ours.id])
    throw error
  }
}

/** The run whose place this one took: the one that it meant to replace, or what had replaced that in the meantime. */
async function replacedBy(id: string, meant: string, engine: Engine): Promise<Entry | undefined> {
  for (let at: string | undefined = meant; at !== undefined; ) {
    const [entry]: (Entry | undefined)[] = await engine.read([at])
    const last: string | undefined = entry?.errors.at(-1)
    const by: unknown = last && (failureOf(last).error as { details?: { by?: unknown } }).details?.by
    if (by === id) return entry
    at = typeof by === 'string' ? by : undefined
  }
  return undefined
}

async function standing(backend: Backend, key: string): Promise<Seen | undefined> {
  const [entry] = await (await backend.open()).read([keyOfSchedule(key)])
  return entry === undefined || isEnded(entry.status) ? undefined : { entry, state: stateOf(entry) }
}

function there(seen: Seen | undefined, key: string): State {
  if (seen !== undefined) return seen.state
  throw new DeferqError(
    'TASK_NOT_FOUND',
    `There is no schedule '${key}' (any more). deferq.schedules.list() shows those that there are.`,
  )
}

async function scheduleOf(entry: Entry): Promise<Schedule> {
  const state = stateOf(entry)
  const { key, timing, missed, paused, last, draft } = state
  const schedule: { -readonly [Field in keyof Schedule]: Schedule[Field] } = {
    key,
    name: draft.name,
    ...timing,
    missed,
    paused,
    history: entry.errors.map(failureOf),
  }
  // Where its timing can't be told, its ticks fail, and the history says why.
  const clock = paused ? undefined : await clockOf(timing).catch(() => undefined)
  if (clock !== undefined) schedule.nextAt = new Date(clock.after(state.since ?? entry.createdAt))
  if (last !== undefined) {
    schedule.lastAt = new Date(last)
    schedule.lastTaskId = occurrenceOf(state, last).id
  }
  return schedule
}
