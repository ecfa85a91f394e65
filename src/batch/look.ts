// A look at a batch: which of its members have ended; the batch itself ends with the last of them, and is put off until then.

import { DeferqError, errorToJson } from '../base/errors.ts'
import type { Engine, Entry } from '../contract/engine.ts'
import type { Ending } from '../contract/system-task.ts'
import { failureText } from '../dispatch/receipt.ts'
import { decode } from '../values/decode.ts'
import { encode } from '../values/encode.ts'
import type { Members } from './state.ts'
import { lookedUp, summaryOf } from './state.ts'

// The next look comes after a tenth of the batch's age, so that its end is told at most that much later.
const SHARE = 10
const LEAST_MS = 100
const MOST_MS = 5_000

export async function look(entry: Entry, engine: Engine): Promise<Ending> {
  const members = decode(entry.params) as Members
  const ended = await lookedUp(engine, members.ids, members.ended)
  const summary = summaryOf(ended)
  if (summary.pending > 0) {
    const now = entry.startedAt as number
    const pauseMs = Math.min(MOST_MS, Math.max(LEAST_MS, (now - entry.createdAt) / SHARE))
    const dueAt = Math.round(now + pauseMs)
    return ended === members.ended
      ? { kind: 'released', dueAt }
      : { kind: 'released', dueAt, params: encode({ ...members, ended }) }
  }
  if (summary.completed === summary.total)
    return { kind: 'completed', result: encode({ ...summary, ended }, 'result') }
  const error = new DeferqError(
    'BATCH_FAILED',
    `Of ${summary.total} members ${summary.completed} completed, ${summary.failed} failed and ${summary.cancelled} were cancelled.`,
    { details: { ...summary, ended } },
  )
  const { stack: _, ...json } = errorToJson(error)
  return { kind: 'failed', error: failureText(entry.attempt, json) }
}
