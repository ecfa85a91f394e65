// The news of a step.
import type { Selector } from '../../contract/engine.ts'
import type { Lane, Run } from './rows.ts'

/** News for other engines of the file, told once the step is committed. */
export interface News {
  ended: string[]
  cancelled: string[]
  /** Lanes where something is pending again or anew, and when it is due. */
  ready: { lane: Lane; dueAt: number }[]
  /** Claims may find what they did not before: a group has room again, or a pause is over. */
  opened: boolean
  /** To be watched by the one who asked. */
  watched: Run[]
  invalidated?: Selector
  trouble: string[]
}
