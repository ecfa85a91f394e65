// The routes for programs that look after many runs at once: reading, waiting, listing, counting, cancelling, making due.

import type { Filter, Status } from '../contract/engine.ts'
import { MAX_BATCH } from '../contract/engine.ts'
import { cancelText } from '../dispatch/errors.ts'
import { checkPriority } from '../tasks/check-options.ts'
import { isKey } from '../values/fingerprint.ts'
import type { Answer } from './call.ts'
import { Refusal } from './call.ts'
import { idIn, listOf, membersOf } from './parse-request.ts'
import { json, runOf } from './render.ts'
import type { Inside, Visit } from './tasks.ts'

/** Proxies often end a request that is silent for 30 s. */
const WAIT_MS = 25_000
const LONGEST_REASON = 10_000
const LONGEST_CURSOR = 4_000
const FILTER = ['status', 'name', 'queue', 'limit', 'cursor']
const STATUSES: readonly string[] = ['pending', 'running', 'completed', 'failed', 'cancelled']

/** `ids`: ids, and keys, under which the run is read that stands there. */
export async function postReads({ gate }: Inside, { call, body }: Visit): Promise<Answer> {
  const { ids } = membersOf(call, body, ['ids'])
  const known = listOf(ids, 'ids').map((id) => (isKey(id) ? id : idIn(id)))
  const runs = (await gate.read(known)).map((run) => (run === undefined ? null : runOf(run)))
  return json(200, JSON.stringify({ runs }))
}

/** Answers once a run has ended or is unknown, with all that have by then; with none when the time is over. */
export async function postWaits({ watch, maxWaitMs }: Inside, { call, body }: Visit): Promise<Answer> {
  const { ids } = membersOf(call, body, ['ids'])
  const found = await watch.ended(listOf(ids, 'ids').map(idIn), Math.min(WAIT_MS, maxWaitMs), call.signal)
  const ended = found.map(([id, run]) => (run === undefined ? { id } : { id, run: runOf(run) }))
  return json(200, JSON.stringify({ ended }))
}

export async function listRuns({ gate }: Inside, { call }: Visit): Promise<Answer> {
  const { searchParams } = new URL(call.target, 'http://here')
  for (const member of searchParams.keys()) {
    if (!FILTER.includes(member))
      throw new Refusal(422, `There is no filter '${member.slice(0, 40)}'. Known: ${FILTER.join(', ')}.`)
  }
  const { status, name, queue, limit, cursor } = Object.fromEntries(searchParams)
  const filter: Filter = {}
  if (status !== undefined) {
    if (!STATUSES.includes(status)) throw new Refusal(422, `status must be one of ${STATUSES.join(', ')}.`)
    filter.status = status as Status
  }
  if (name !== undefined) filter.name = gate.named(name)
  if (queue !== undefined) filter.queue = queue
  if (limit !== undefined) filter.limit = limitOf(limit)
  if (cursor !== undefined && cursor.length > LONGEST_CURSOR)
    throw new Refusal(422, 'cursor must be one that this route has answered.')
  const { entries, ...page } = await gate.list(filter, cursor)
  return json(200, JSON.stringify({ runs: entries.map(runOf), ...page }))
}

export async function getStats({ gate }: Inside): Promise<Answer> {
  return json(200, JSON.stringify(await gate.count()))
}

export async function postCancellations({ gate }: Inside, { call, body }: Visit): Promise<Answer> {
  const { ids, reason } = membersOf(call, body, ['ids', 'reason'])
  if (reason !== undefined && typeof reason !== 'string') throw new Refusal(422, 'reason must be text.')
  const answers = await gate.cancel(
    listOf(ids, 'ids').map(idIn),
    cancelText(reason?.slice(0, LONGEST_REASON)),
  )
  return json(200, JSON.stringify({ answers }))
}

export async function postPromotions({ gate }: Inside, { call, body }: Visit): Promise<Answer> {
  const { ids, priority } = membersOf(call, body, ['ids', 'priority'])
  if (priority !== undefined) checkPriority(priority, 'priority')
  const answers = await gate.promote(listOf(ids, 'ids').map(idIn), priority)
  return json(200, JSON.stringify({ answers }))
}

function limitOf(text: string): number {
  const limit = Number(text)
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_BATCH) return limit
  throw new Refusal(422, `limit must be a whole number from 1 to ${MAX_BATCH}.`)
}
