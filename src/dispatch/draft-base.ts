// The part of a draft that all dispatches of one task share, and the options about duplicates.
import { DeferqError } from '../base/errors.ts'
import type { Draft, Policy } from '../contract/engine.ts'
import type { Contention } from '../tasks/duplicates.ts'
import { contentionOf } from '../tasks/duplicates.ts'
import type { DispatchOptions } from '../tasks/options.ts'
import type { AnyTask, SharedOptions } from '../tasks/task.ts'
import type { HotKeys } from '../values/key-cache.ts'

/** What is the same for every plain dispatch of a task, worked out once. */
export interface Base {
  task: AnyTask | undefined
  /** Those of the task over those for all tasks. */
  options: SharedOptions
  policy: Policy
  queue: string
  priority: number
  delayMs: number
  onMismatch: 'join' | 'reject'
  contention: Contention | undefined
  groupOf: ((params: unknown) => string) | undefined
  /** Where nothing but name and params makes the key. */
  hot: HotKeys | undefined
}

/** What a dispatch says about duplicates and those who wait comes before what the task says. */
export function contend(draft: Draft, options: DispatchOptions | undefined, base: Base): void {
  let { contention } = base
  const { debounce, onDuplicate, onAbandoned } = options ?? {}
  if ((debounce ?? onDuplicate ?? onAbandoned) !== undefined) {
    const own = stripped({ debounce, onDuplicate, onAbandoned })
    const all: SharedOptions = { ...base.options, ...own }
    // Of two that exclude each other the nearer one counts.
    if (onDuplicate !== undefined && debounce === undefined) delete all.debounce
    contention = contentionOf(all)
  }
  if (contention === undefined) return
  Object.assign(draft, contention)
  if (contention.refresh === undefined) return
  delete draft.onMismatch
  if ((options?.delay ?? options?.runAt) !== undefined) {
    throw new DeferqError(
      'INVALID_OPTION',
      `dispatch('${draft.name}'): the task is debounced, which decides when it runs: leave out delay and runAt.`,
    )
  }
}

export function stripped<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}
