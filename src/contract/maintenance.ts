// The second interface of a store, for operators and tools. No dispatch and no worker calls it.

/** One run as the store holds it, for a person who looks for a fault. */
export interface Inspection {
  id: string
  /** `stands`: under its key. `aside`: replaced, found by its id alone. `behind`: waits for the run under its key to end. */
  place: 'stands' | 'aside' | 'behind'
  /** The record by field names, rare and unknown fields included. Times are epoch milliseconds. A token is shortened (`shownToken`). */
  fields: Readonly<Record<string, unknown>>
  /** The rest that the store keeps about this run, such as tickets, leases and follow-ups: one line each. */
  beside: readonly Beside[]
  /** The run as the store's own tool shows it: the text of a Redis key, the row of a table. */
  raw?: string
  /** Contradictions between the record and what lies beside it; empty for a healthy run. */
  problems: readonly Problem[]
}

/** A lease's token as `Inspection.fields` shows it: the whole text would let its reader settle the run. */
export const shownToken = (token: string): string => `${token.slice(0, 6)}…`

export interface Beside {
  /** Where it lies: a key, a table, a queue. */
  where: string
  /** `ticket`, `lease`, `follow-up`, `result`, `watcher`, … */
  what: string
  value: unknown
}

/**
 * A contradiction in the store.
 *
 * | kind | meaning | repair |
 * |---|---|---|
 * | `no-ticket` | a pending run that no claim finds | gives it a ticket |
 * | `stray-ticket` | a ticket whose run is not pending there, and that no claim would clear away | removes the ticket |
 * | `no-lease` | a running run whose lease never ends | gives it a lease that has just ended, so that a sweep takes it back |
 * | `stray-lease` | a lease whose run does not run | removes the lease |
 * | `counter` | a counter that differs from what is there | sets the counter |
 * | `orphan` | data of a run that is gone | removes the data |
 * | `unreadable` | a record that cannot be read | none: the sweep and the claim set it aside |
 */
export interface Problem {
  kind: 'no-ticket' | 'stray-ticket' | 'no-lease' | 'stray-lease' | 'counter' | 'orphan' | 'unreadable'
  /** The run, if the problem is about one. */
  id?: string
  /** Where it lies: a key, a table and row, a counter. */
  where: string
  /** One sentence for a person. */
  detail: string
}

export interface ScanPage {
  problems: Problem[]
  /** How many records this page looked at. */
  looked: number
  cursor?: string
}

export interface MigrateOptions {
  /** True: change nothing, only answer the steps (SQL statements where the store has SQL). */
  dryRun?: boolean
  /** True: also drop the functions of older versions that no live process uses. */
  prune?: boolean
}

export interface Maintenance {
  /** A run by its id, or the run that stands under a key; undefined if there is none. */
  inspect(idOrKey: string): Promise<Inspection | undefined>
  /** Looks at one page of the store for contradictions, and changes nothing. Safe beside live workers: each problem was seen twice. */
  scan(limit: number, cursor?: string): Promise<ScanPage>
  /** Repairs what still is as the problem says; answers, by index, whether it changed something. */
  repair(problems: readonly Problem[]): Promise<boolean[]>
  /** Brings the store to this version's layout; answers the steps that were (or with `dryRun` would be) done, in order. Idempotent. */
  migrate(options?: MigrateOptions): Promise<string[]>
  /** Removes ended runs for good, with all that lies beside them; answers, by index, whether one was removed. A live run is never removed. */
  purge(ids: readonly string[]): Promise<boolean[]>
}
