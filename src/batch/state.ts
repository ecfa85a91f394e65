// What is known of a batch: its members, how each of them ended, and the counts of these.
import type { Status } from '../contract/engine.ts'
import { MAX_BATCH } from '../contract/engine.ts'

export const BATCH = 'deferq.batch'

/** The params of a batch's run. One letter a member in `own` and `ended`, in their order. */
export interface Members {
  ids: string[]
  /** '1' where the batch has created the run, which it may cancel then. */
  own: string
  /** As far as it was known at the last look; by its end in its result or its error. */
  ended: string
}

/** Where a batch stands. What runs counts as pending. */
export interface BatchStatus {
  readonly id: string
  readonly total: number
  readonly pending: number
  readonly completed: number
  readonly failed: number
  readonly cancelled: number
  /** Of the members, in the order in which they were given. */
  readonly taskIds: readonly string[]
}

const LETTERS: Partial<Record<Status, string>> = { completed: 'c', failed: 'f', cancelled: 'x' }
export const PENDING = '.'

/** A run that is not there any more has ended, and nobody can say that it was a success. */
export const letterOf = (run: { status: Status } | undefined): string =>
  run === undefined ? 'f' : (LETTERS[run.status] ?? PENDING)

export type Summary = Omit<BatchStatus, 'id' | 'taskIds'>

export function summaryOf(ended: string): Summary {
  const count = (letter: string): number => ended.split(letter).length - 1
  return {
    total: ended.length,
    pending: count(PENDING),
    completed: count('c'),
    failed: count('f'),
    cancelled: count('x'),
  }
}

export function statusOf(id: string, taskIds: readonly string[], ended: string): BatchStatus {
  return { id, ...summaryOf(ended), taskIds }
}

/** A store, or a backend. */
interface Readable<Run> {
  read(ids: readonly string[]): Promise<(Run | undefined)[]>
}

/** The letters by now: only the members that had not ended are looked at. */
export async function lookedUp(
  store: Readable<{ status: Status }>,
  ids: readonly string[],
  ended: string,
): Promise<string> {
  const letters = [...ended]
  const open = letters.flatMap((letter, index) => (letter === PENDING ? [index] : []))
  const runs = await readAll(
    store,
    open.map((index) => ids[index] as string),
  )
  for (const [at, index] of open.entries()) letters[index] = letterOf(runs[at])
  return letters.join('')
}

export async function readAll<Run>(
  store: Readable<Run>,
  ids: readonly string[],
): Promise<(Run | undefined)[]> {
  const runs: (Run | undefined)[] = []
  for (let at = 0; at < ids.length; at += MAX_BATCH)
    runs.push(...(await store.read(ids.slice(at, at + MAX_BATCH))))
  return runs
}
