// The records of the contract: what is asked for, and what a store keeps of it.

/** pending → running → completed | failed; back to pending by retry, release or a lost lease; cancelled from both. */
export type Status = 'pending' | 'running' | 'completed' | 'failed' | 'cancelled'

export interface Policy {
  /** Attempts before the run fails for good; those that died with their worker count. */
  maxAttempts: number
  /** How long the result answers new dispatches as fresh; 0: not at all. */
  resultTtlMs: number
  /** How much longer it answers them as stale, while a refresh runs. */
  staleTtlMs: number
  /** How long a failure answers new dispatches instead of being tried again; 0: not at all. */
  failureTtlMs: number
  /** How long an ended run can be read by its id, at least. */
  retentionMs: number
  /** However it ended (but for a cancellation), it answers new dispatches until this long after its last attempt began. */
  everyMs?: number
}

/**
 * Under it a draft carries its params as the value that their text says, and may hand it to the claim that this same process gets: reading
 * the text would take a lone task 2 % longer. Given away once. A symbol, so that no engine writes it down.
 */
export const VALUE = Symbol('value')

/** A run that somebody would like to have. Its id is made by the one who asks, and makes `admit` repeatable. */
export interface Draft {
  id: string
  name: string
  queue: string
  params: string
  priority: number
  policy: Policy
  /** Due this long after the store's now. */
  delayMs: number
  /** Due at this moment of the store's clock instead; what is past is due now. */
  dueAt?: number
  /** Text for the runner (time-out, back-off), kept with the run. */
  extra?: string
  /** A result does not answer this draft; what runs already may. */
  refresh?: boolean
  /** Given where the key is narrower than the params: compare them with those of the run that answers. */
  onMismatch?: 'join' | 'reject'
  /** What becomes of a live run that stands in the way, instead of being joined as it is. */
  onDuplicate?: OnDuplicate
  /** However often it is put off, the run is due no later than this long after it was created. */
  maxDelayMs?: number
  /** The run is cancelled once nobody has asked for it for a while. */
  attended?: Attended
  /** The part of its name (a tenant, say; '' is one too) whose limits it counts against. Runs of one name and group lie in one shard. */
  group?: string
  /** Admitted in the same atomic step in which the run ends (or at once, when what stands has ended). */
  then?: FollowUp[]
  /** Hint `ended` to this engine instance when the run that answers this draft has ended. */
  watch?: boolean
  /** True for the first send of this id: a store need not look whether it has admitted the id before. Perf: 1.06 to 1.10 times the dispatches on Redis. */
  firstSend?: boolean
  [VALUE]?: unknown
}

/**
 * What a draft does to a live run under its key, in place of joining it:
 *
 * | | the run is | and so |
 * |---|---|---|
 * | `reject` | either | `rejected`; nothing changes |
 * | `replace` | pending | `joined`; it takes over the draft's params and extra, and its due time, later or earlier (a back-off stays) |
 * | `supersede` | either | `created`; the run that stood there is cancelled, and its last error says for which |
 * | `rerunAfter` | running | `created`: a pending run that waits behind it, and is due once it has ended. It is found by its id; a further draft with `rerunAfter` meets this one, by the rule for pending runs |
 *
 * A run that waits behind another takes its place when that one ends, is moved aside or is superseded.
 */
export interface OnDuplicate {
  pending?: 'reject' | 'replace' | 'supersede'
  running?: 'reject' | 'supersede' | 'rerunAfter'
}

/**
 * A run that is cancelled (by `sweep`) when for `ms` nobody has asked for it: each draft that joins it, and each `read` of it, asks.
 * `running`: also while it runs. Joined by drafts that differ: the longer time, and running only if all say so; joined by
 * a draft that has none, it is kept for good.
 */
export interface Attended {
  ms: number
  running: boolean
}

/**
 * What follows a run. The draft's id begins with the first 8 characters of the parent's, so that both lie in one shard;
 * its key belongs to it alone. `failure` includes cancellation.
 */
export interface FollowUp {
  on: 'success' | 'failure' | 'both'
  draft: Draft
  /** True: it is told about the run that its parent was told about, so that a whole chain hears of one end. */
  sameParent?: boolean
}

/** What a follow-up is told about the run it follows; `value` is its result, or its last error. */
export interface Parent {
  id: string
  name: string
  status: 'completed' | 'failed' | 'cancelled'
  value?: string
}

/** A run as whoever asked for it sees it. */
export interface Standing {
  id: string
  name: string
  queue: string
  status: Status
  priority: number
  /** Attempts begun. */
  attempt: number
  createdAt: number
  dueAt: number
  /** When the last attempt was claimed. */
  startedAt?: number
  finishedAt?: number
  progress?: string
  /** Of a completed run. */
  result?: string
  /** Fresh before this moment, and usable while stale before that one. */
  freshUntil?: number
  staleUntil?: number
  /** What each failed attempt left, oldest first, at most MAX_ERRORS. */
  errors: string[]
}

/** A run with all that a worker, a list or a retry needs. */
export interface Entry extends Standing {
  params: string
  policy: Policy
  extra?: string
  group?: string
  parent?: Parent
}
