// A tick of a schedule: makes tasks of what is due by the store's clock, and puts the schedule off until its next occurrence.
import type { Engine, Entry } from '../contract/engine.ts'
import type { Ending } from '../contract/system-task.ts'
import type { State } from './state.ts'
import { NEVER, occurrenceOf, stateOf, textOf } from './state.ts'
import { clockOf } from './timing.ts'

/** An occurrence that is later than this has been missed. */
const LATE_MS = 60_000

/** One atomic step of the store: who dies before it has changed nothing, and whoever comes next does the same. */
export async function tick(entry: Entry, engine: Engine): Promise<Ending> {
  const { owed, ...state } = stateOf(entry)
  const now = entry.startedAt as number
  if (state.paused) return { kind: 'released', dueAt: NEVER }
  const clock = await clockOf(state.timing)
  const since = state.since ?? entry.createdAt
  const most = state.missed === 'all' ? state.cap : 1
  const before =
    owed === undefined ? [] : (await clockOf(owed.timing)).within(owed.since, entry.createdAt, most)
  const due = [...new Set([...before, ...clock.within(since, now, most)])].slice(-most)
  const taken = state.missed === 'skip' ? due.filter((at) => now - at <= LATE_MS) : due
  // A store's clock that was set back must not bring back what has been.
  const until = Math.max(now, since)
  const next: State = { ...state, since: clock.forward(since, until) }
  const last = taken.at(-1)
  if (last !== undefined) next.last = last
  const drafts = taken.map((at) => occurrenceOf(next, at))
  const ending: Ending = {
    kind: 'released',
    dueAt: Math.min(NEVER, clock.after(next.since as number)),
    params: textOf(next),
  }
  if (state.draft.group === undefined) return { ...ending, then: drafts }
  // What is under limits lies where its group does, and not here. Whoever does this again meets the same ids, for they are
  // kept for a day at least.
  if (drafts.length > 0) await engine.admit(drafts)
  return ending
}
