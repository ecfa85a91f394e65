// What a worker tells: of each attempt, by its events, and at its end, by its summary.
import type { About } from './attempt.ts'

/** Why `run()` came to its end, and what was done until then. */
export interface WorkerSummary {
  reason: 'stopped' | 'aborted' | 'maxJobs' | 'maxMemory' | 'maxRuntime' | 'empty'
  claimed: number
  completed: number
  failed: number
  retried: number
  released: number
  /** Attempts that were interrupted, or whose outcome was refused, because the lease was lost or the run cancelled. */
  lost: number
}

export type WorkerEvents = {
  started: [about: About]
  completed: [about: About]
  failed: [about: About & { error: unknown }]
  retried: [about: About & { error: unknown; delayMs: number }]
  released: [about: About]
  lost: [about: About]
  /** Something outside of any handler went wrong, and is tried again. */
  trouble: [error: unknown, message: string]
}
