// deferq's own runs, such as the ticks of schedules: what one of them does and how it ends.
import type { AttemptOutcome, Engine, Entry } from './engine.ts'

type WithoutLease<Any> = Any extends AttemptOutcome ? Omit<Any, 'id' | 'token'> : never

/**
 * How a look at such a run ends. `released` puts it off: until `dueAt`, by the store's clock, to go on with `params`, with the
 * drafts in `then` admitted in the same atomic step; it doesn't count as an attempt.
 */
export type Ending = WithoutLease<AttemptOutcome>

/**
 * Works on the store alone, well within a lease, and can be repeated: its worker may die in the middle. The store's now is
 * `entry.startedAt`. What it throws is kept with the run, which is tried again.
 */
export type SystemTask = (entry: Entry, engine: Engine) => Promise<Ending>
