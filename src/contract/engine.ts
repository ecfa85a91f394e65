// The contract between deferq and a store: the records, the verbs, and the laws that every engine keeps.
//
// One entry per key is at once the dedup lock, the place in the queue and the cached result. What stands under
// a key is a *run* (the current or last execution) and, apart from it, the *accepted result* that is still
// fresh or usable while stale; usually that is the same run's. A run that is replaced is moved aside: it is
// still found under its id until its retention is over.
//
// The laws (proved for each engine by `deferq/conformance`):
//  1. Answers line up with their inputs by index; a batch is worked through in order, each item seeing what those before
//     it have done. It holds at most MAX_BATCH items.
//  2. The store's clock decides. An embedded engine takes its clock as an argument, so that tests move it.
//  3. Hints are hints: everything still completes with `listen` muted, by polling.
//  4. At most one live run stands under a key; a run has at most one accepted outcome. Execution is at least
//     once: a worker that stalls past its lease may overlap with its successor, and its outcome is refused.
//  5. No key outlives its owner. While a run lives, its key is tied to its state, never to a timer.
//  6. A repeated command is harmless, because clients resend after a reconnect: `admit` is idempotent by the
//     draft's id, `settle` and `extend` by the lease's token.
//  7. Every engine implements every method whole. What it can't promise stands in `caveats`.
//  8. Params, results, progress and errors are opaque text.
//  9. Every call settles within a bounded time: an absent store is a DeferqError STORE_UNAVAILABLE.
// 10. A row that can't be read is set aside and reported, and harms no other.

import { DeferqError } from '../base/errors.ts'
import type { Maintenance } from './maintenance.ts'
import type { Draft, Entry, Standing, Status } from './records.ts'
import { VALUE } from './records.ts'

/** The most items that one call takes; the callers above the contract split what is larger. */
export const MAX_BATCH = 1_000
/** Priorities are whole numbers from -MAX_PRIORITY to MAX_PRIORITY; the higher is claimed first. */
export const MAX_PRIORITY = 100
/** The priority of a run that refreshes a stale result behind everybody's back (or the draft's, if lower). */
export const REFRESH_PRIORITY = -10
/** How many errors of a run are kept: the newest. */
export const MAX_ERRORS = 10
export * from './ids.ts'
export type * from './maintenance.ts'
export type * from './records.ts'
export { VALUE }

/**
 * What `admit` decides, looking at what stands under the draft's key, in this order:
 *
 * | what stands there                                             | outcome    | and so                          |
 * |---------------------------------------------------------------|------------|---------------------------------|
 * | the draft's own run (a repeated command)                      | as before  | nothing is added                |
 * | params that differ, and `onMismatch: 'reject'`                | `rejected` | nothing changes                 |
 * | a fresh result, and not `refresh`                             | `hit`      |                                 |
 * | a stale, usable result, and not `refresh`                     | `stale`    | one refresh run is created, if none lives and no failure is remembered |
 * | a pending or running run, and `onDuplicate`                   | as it says | see there                       |
 * | a pending or running run                                      | `joined`   | follow-ups and watchers are added, priority and retention rise to the larger, due falls to the earlier while no attempt has begun (a back-off stays) |
 * | a failed run, still remembered, and not `refresh`             | `negative` |                                 |
 * | anything else                                                 | `created`  | what has ended is moved aside   |
 *
 * Follow-ups of a `hit`, `stale` or `negative` draft are admitted at once.
 */
export type AdmitOutcome = 'created' | 'joined' | 'hit' | 'stale' | 'negative' | 'rejected'

export interface Verdict {
  outcome: AdmitOutcome
  /** The run that answers: the stored one, never the caller's copy of it. */
  entry: Standing
  /** False where `onMismatch` was given and the params differ. */
  sameParams: boolean
  /** With `stale`: the run that refreshes it, if one lives. */
  refreshId?: string
  /** With `hit`: for how much longer it is fresh, by the store's clock. */
  freshMs?: number
}

/** What holds for each group of a name, across all who claim. Runs without a group are under no limit. */
export interface Limit {
  /** At most this many run at a time. */
  running?: number
  /** At most `max` attempts begin within any stretch of `perMs`. */
  rate?: { max: number; perMs: number }
}

/** All lanes of a queue, or all of a name. */
export type Lanes = { queue: string } | { name: string }

export interface Want {
  /** Task names with a handler here; at least one. */
  names: readonly string[]
  /** Queues to take from; none given: from all. */
  queues?: readonly string[]
  /** 0: none, and this instance no longer waits for work of these names and queues; it may wait for others. */
  limit: number
  leaseMs: number
  /** By name. Groups of one name take turns, whether they are limited or not: the one served longest ago comes first. */
  limits?: Readonly<Record<string, Limit>>
  /**
   * Where fewer than `limit` were found, the engine may hand over one that became ready later, in place of the hint `work`:
   * claimed as by this claim, a round trip earlier. At most once per claim, or never. What is not wanted any more is
   * to be released. Never the last attempt of a run: a hand-over may be lost with its connection, and costs an attempt then.
   */
  take?(claimed: Claimed): void
}

export interface Claimed {
  entry: Entry
  token: string
  [VALUE]?: unknown
}

/**
 * In order of priority, then due time, then birth: first in, first out (in a sharded engine: within each shard; where runs have groups: within each group). When fewer than `limit` were found, this instance hears `work` once some
 * that it wants becomes ready (a hint, to one of those who wait), or is handed it by `Want.take`.
 */
export interface Claims {
  claimed: Claimed[]
  /** When something is due next, or a rate allows more, as milliseconds from now (it may turn out not to be wanted); left out when nothing is. 0 where something due was not to be had just now. */
  nextDueMs?: number
  /** Rows that could not be read and were set aside. */
  malformed?: { id: string; reason: string }[]
}

export interface Lease {
  id: string
  token: string
  /** Stored with the run, if given. */
  progress?: string
}

/**
 * The end of an attempt, compare-and-set on the lease's token. With `claim`, the record that the engine has given out, it need not
 * look up what it knew then.
 * `completed` is the one accepted result; it answers new dispatches unless the run was invalidated while it ran.
 * `retry` puts the run back, due after `delayMs`; `failed` ends it.
 * `released` puts it back at the head of its lane as if it had not been claimed: the attempt does not count. With `dueAt` it is
 * due then, with `params` it is to be run with these.
 * `cancelled` ends it as `cancel` does, with a reason.
 */
export type AttemptOutcome = { id: string; token: string; then?: Draft[]; claim?: Claimed } & (
  | { kind: 'completed'; result: string }
  | { kind: 'failed'; error: string }
  | { kind: 'retry'; error: string; delayMs: number }
  | { kind: 'released'; dueAt?: number; params?: string }
  | { kind: 'cancelled'; error: string }
)

/** `lost`: the token holds no lease any more; nothing was changed. A repeated settle is answered as it was at first, until the run's next attempt is settled. */
export type SettleAnswer = 'settled' | 'lost'
export type LeaseAnswer = 'held' | 'lost' | 'cancelled'
/** `ended`: it had come to an end by itself; `unknown`: there is no such run (any more). */
export type CancelAnswer = 'cancelled' | 'ended' | 'unknown'
/** `due`: it is pending, and due now. */
export type PromoteAnswer = 'due' | 'running' | 'ended' | 'unknown'

export interface Settled extends Claims {
  answers: SettleAnswer[]
}

export interface Swept {
  /** Runs whose lease had expired: back in their lane, or failed because their attempts are spent. */
  requeued: string[]
  failed: string[]
  /** Runs that were cancelled because nobody asked for them any more. */
  abandoned: string[]
  /** How many runs were removed because their retention was over (0 if the store removes them by itself). */
  removed: number
}

export type Selector = { keys: readonly string[] } | { name: string }

export interface Filter {
  status?: Status
  name?: string
  queue?: string
  /** 100 by default, MAX_BATCH at most. A page may hold fewer, even none, and still have a cursor. */
  limit?: number
}

export interface Page {
  entries: Entry[]
  cursor?: string
}

export type Total =
  | AdmitOutcome
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'retried'
  | 'outcomesRefused'
  | 'leasesLost'

/** Kept with each change, never counted on demand. */
export interface Counts {
  /** Every lane that holds something; pending includes what is due later. */
  lanes: { queue: string; name: string; pending: number; running: number }[]
  paused: Lanes[]
  /** Since the store began: what `admit` answered (`created` counts every birth, those of refreshes and follow-ups too), how runs ended, outcomes refused because their lease was lost (`outcomesRefused`), leases that ran out and were taken back (`leasesLost`). */
  totals: Partial<Record<Total, number>>
}

/**
 * Best-effort news. `work`: a claim may find something now. `ended` (with how it ended, where that is short), `cancelled` (to the
 * worker that runs it): about one run.
 * `invalidated`: to everybody. `changed`: something, somewhere; look again. `trouble`: for the log.
 */
export type Hint =
  | { kind: 'work' }
  | { kind: 'ended'; id: string; run?: Standing }
  | { kind: 'cancelled'; id: string }
  | { kind: 'invalidated'; selector: Selector }
  | { kind: 'changed' }
  | { kind: 'trouble'; message: string; error?: unknown }

/** Options of the verbs that write. */
export interface WriteOptions {
  /**
   * A transaction of the caller's on the database of this store: the verb's changes take effect when it commits. An
   * engine that shares no transactions refuses it with INVALID_OPTION (`refuseTx`).
   */
  tx?: unknown
}

/** What `listen` answers. */
export interface Listening {
  stop(): void
  /** True while this instance hears what other instances invalidate. While false, nothing may be answered from a near cache. */
  hears(): boolean
}

export interface Engine {
  /** Short, for messages: 'memory', 'sqlite', 'redis'. */
  readonly name: string
  /** What this engine, opened like this, can't promise; empty when it keeps every law. */
  readonly caveats: readonly string[]
  /** The number of shards. `shardOf(id, shards)` tells where an id lies; a batch of one shard is one command. 1 until the engine is open. */
  readonly shards: number

  /** Connects and migrates. Idempotent, as `close` is; other calls may open by themselves. */
  open(): Promise<void>
  /** Releases everything, and takes back this instance's waits. Calls after it are refused with CLOSED. */
  close(): Promise<void>

  admit(drafts: readonly Draft[], options?: WriteOptions): Promise<Verdict[]>
  claim(want: Want): Promise<Claims>
  /** Ends attempts and, when `want` is given, claims what is next in the same round trip. */
  settle(outcomes: readonly AttemptOutcome[], want?: Want, options?: WriteOptions): Promise<Settled>
  /** The heartbeat: each lease that is still held lasts `leaseMs` from now. */
  extend(leases: readonly Lease[], leaseMs: number): Promise<LeaseAnswer[]>
  /** Brings back what died with its worker and removes what has expired, at most `limit` of each. */
  sweep(limit: number): Promise<Swept>

  /** Runs by id, superseded ones too; by a key, the run that stands there. `watch`: hint `ended` for each that has not ended yet, with no gap between. */
  read(ids: readonly string[], watch?: boolean): Promise<(Entry | undefined)[]>
  /** Ends pending and running runs; frees their keys at once. The reason is appended to their errors. */
  cancel(ids: readonly string[], reason?: string, options?: WriteOptions): Promise<CancelAnswer[]>
  /**
   * Makes pending runs due at once, whatever they wait for (a delay, a back-off), and raises their priority to `priority`.
   * A run that waits behind another goes on waiting for it.
   */
  promote(ids: readonly string[], priority?: number, options?: WriteOptions): Promise<PromoteAnswer[]>
  /**
   * Forgets results and remembered failures; answers how many keys changed. Atomic per key; a name is gone through key by
   * key, and once this has answered, no result from before the call is served. A running run is moved aside: it
   * still answers those who wait for it, and is not cached. A pending run stays: it has not looked at anything yet.
   */
  invalidate(selector: Selector, options?: WriteOptions): Promise<number>
  /** What is pending there is not claimed until it is taken back; what runs goes on. A lane may be paused by its queue and by its name. */
  pause(lanes: Lanes, paused: boolean): Promise<void>

  list(filter: Filter, cursor?: string): Promise<Page>
  count(): Promise<Counts>
  listen(hear: (hint: Hint) => void): Listening

  /** What operators and tools need; loaded when it is first asked for. */
  maintenance?(): Promise<Maintenance>
}

/** For engines that share no transactions: refuses `tx`. */
export function refuseTx(options: WriteOptions | undefined, engine: string, verb: string): void {
  if (options?.tx === undefined) return
  throw new DeferqError(
    'INVALID_OPTION',
    `${verb}(): the ${engine} store shares no transaction with you. Omit tx, or use a store at a postgres:// URL.`,
  )
}

/** Tells apart what one instance waits for: several workers may share it. */
export const nameOfWant = ({ names, queues }: Want): string => JSON.stringify([names, queues])

/** Law 1's bound; every engine calls it first. */
export function checkBatch(items: readonly unknown[], method: string): void {
  if (items.length > MAX_BATCH) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${method}() takes at most ${MAX_BATCH} items a call and got ${items.length}: split them.`,
    )
  }
}

export const isEnded = (status: Status): boolean =>
  status === 'completed' || status === 'failed' || status === 'cancelled'
