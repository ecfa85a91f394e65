// Chores: deferq's own runs (the ticks of schedules, say), which any worker takes on beside its tasks.
import type { Engine, Entry, Outcome } from '../contract/engine.ts'

type WithoutLease<Any> = Any extends Outcome ? Omit<Any, 'id' | 'token'> : never

/**
 * How a look at such a run ends. `released` puts it off: until `dueAt`, by the store's clock, to go on with `params`, with the
 * drafts in `then` admitted in the same atomic step; it doesn't count as an attempt.
 */
export type Ending = WithoutLease<Outcome>

/**
 * Works on the store alone, well within a lease, and can be repeated: its worker may die in the middle. The store's now is
 * `entry.startedAt`. What it throws is kept with the run, which is tried again.
 */
export type Chore = (entry: Entry, engine: Engine) => Promise<Ending>

/** By the name of the run; loaded when the first such run turns up. */
export const CHORES: ReadonlyMap<string, () => Promise<Chore>> = new Map([
  ['deferq.schedule', async () => (await import('../schedule/tick.ts')).tick],
  ['deferq.batch', async () => (await import('../batch/look.ts')).look],
])
