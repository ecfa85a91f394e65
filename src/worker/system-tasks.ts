// The table of deferq's own runs: every worker takes them on beside its tasks.
import type { SystemTask } from '../contract/system-task.ts'

/** By the name of the run; loaded when the first such run turns up. */
export const SYSTEM_TASKS: ReadonlyMap<string, () => Promise<SystemTask>> = new Map([
  ['deferq.schedule', async () => (await import('../schedule/tick.ts')).tick],
  ['deferq.batch', async () => (await import('../batch/look.ts')).look],
])
