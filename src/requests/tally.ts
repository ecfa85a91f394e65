// Sums up the attempts of a request, because the store keeps the errors of the newest ones alone.
import type { Context, Failure } from '../tasks/task.ts'

/** By what came of them ('503', 'ECONNREFUSED', 'timeout'): how often, and when first and last. */
export type Tally = Record<string, { times: number; first: string; last: string }>

// A receiver that answers something else each time must not fill the store.
const MOST_LABELS = 20
const OTHERS = 'others'

/** Each failure carries the sum of all before it, so that the newest one has it all. */
export function tallied(
  { history, startedAt }: Pick<Context, 'history' | 'startedAt'>,
  label: string,
): Tally {
  const at = history.findLastIndex((failure) => tallyOf(failure) !== undefined)
  const tally: Tally = { ...(at < 0 ? {} : tallyOf(history[at] as Failure)) }
  // What the store wrote itself, for attempts that died with their worker, has no sum.
  for (const { error, at: when } of history.slice(at + 1)) {
    add(tally, String((error as { code?: unknown }).code ?? error.name), when)
  }
  add(tally, label, startedAt)
  return tally
}

function tallyOf({ error }: Failure): Tally | undefined {
  return (error as { details?: { attempts?: Tally } }).details?.attempts
}

function add(tally: Tally, label: string, at: Date): void {
  const known = Object.hasOwn(tally, label) || Object.keys(tally).length < MOST_LABELS
  const name = known ? label : OTHERS
  const time = at.toISOString()
  const before = Object.hasOwn(tally, name) ? tally[name] : undefined
  tally[name] = { times: (before?.times ?? 0) + 1, first: before?.first ?? time, last: time }
}
