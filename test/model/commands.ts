// The commands of the model tests, as plain data, so that a failing history prints and replays as it is.
import type { Draft, Lanes, OnDuplicate } from '../../src/contract/engine.ts'

/** Lengths of time are whole units; a store may lose up to half a unit of real time in a whole history. */
export const UNIT_MS = 600_000

export interface DraftCommand {
  key: number
  queue: number
  priority: number
  params: number
  /** Units. */
  delay: number
  /** Units from now, and a half; instead of `delay`. */
  due?: number | undefined
  maxDelay?: number | undefined
  attempts: number
  /** Units. */
  fresh: number
  stale: number
  failure: number
  retention: number
  every?: number | undefined
  refresh: boolean
  onMismatch?: Draft['onMismatch'] | undefined
  onDuplicate?: OnDuplicate | undefined
  attended?: { units: number; running: boolean } | undefined
  group?: number | undefined
  follows: ('success' | 'failure' | 'both')[]
  watch: boolean
}

export interface WantCommand {
  limit: number
  queue?: number | undefined
  lease: number
}

/** The limits of groups, the same for all workers of a history: how many runs of a group run at a time, or begin within a unit. */
export interface LimitsCommand {
  running?: number | undefined
  rate?: number | undefined
}

export interface History {
  limits: LimitsCommand
  commands: Command[]
}

export type OutcomeCommand = { which: number; then: boolean } & (
  | { kind: 'completed' }
  | { kind: 'failed' }
  | { kind: 'cancelled' }
  | { kind: 'retry'; delay: number }
  | { kind: 'released'; due?: number; params?: number }
)

/** `which` counts from the newest draft or claim backwards. `by` is the connection. */
export type Command = { by: number } & (
  | { do: 'admit'; drafts: DraftCommand[] }
  | { do: 'resend'; which: number }
  | { do: 'claim'; want: WantCommand }
  | { do: 'settle'; outcomes: OutcomeCommand[]; want?: WantCommand }
  | { do: 'extend'; which: number; lease: number; progress: boolean }
  | { do: 'sweep' }
  | { do: 'read'; which: number; byKey: boolean }
  | { do: 'cancel'; which: number; reason: boolean }
  | { do: 'promote'; which: number; priority?: number }
  | { do: 'invalidate'; key: number }
  | { do: 'invalidate name' }
  | { do: 'pause'; lanes: Lanes; paused: boolean }
  | { do: 'list'; status?: 'pending' | 'running' | 'completed' }
  | { do: 'count' }
  | { do: 'advance'; units: number }
)

/** Three keys of a name without groups, and two of a name whose runs have groups. */
export const KEYS = 5
export const nameOfKey = (key: number): string => (key < 3 ? 'job' : 'mail')
export const NAMES = ['job', 'mail', 'after']
export const QUEUES = ['default', 'other']
