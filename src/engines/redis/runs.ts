// The arguments and answers of the verbs `read`, `cancel`, `promote`, `list`, `count` and `pause`.

import { DeferqError } from '../../base/errors.ts'
import type {
  CancelAnswer,
  Counts,
  Entry,
  Filter,
  Lanes,
  PromoteAnswer,
  Total,
} from '../../contract/engine.ts'
import { KEY_LENGTH } from '../../contract/engine.ts'
import type { Row } from './ids.ts'
import { readRow, SHORT_ID, shortId, shortKey } from './ids.ts'

/** How many keys one step of a list looks at: a fraction of a millisecond where few match. */
const SCAN_COUNT = 500

export const readArgs = (ids: readonly string[], watcher: string): string[] => [
  watcher,
  ...ids.map((id) => (id.length === KEY_LENGTH ? shortKey(id) : shortId(id))),
]

export function readReply(reply: unknown): (Entry | undefined)[] {
  const [rows] = reply as [(string | Row | 0)[]]
  return rows.map((row) => {
    if (row === 0) return undefined
    return readRow(typeof row === 'string' ? [row.slice(SHORT_ID), row.slice(0, SHORT_ID)] : row)
  })
}

export const cancelArgs = (ids: readonly string[], reason: string | undefined): string[] => [
  reason === undefined ? '' : `e${reason}`,
  ...ids.map(shortId),
]

const CANCEL_ANSWERS: Record<string, CancelAnswer> = { c: 'cancelled', e: 'ended', u: 'unknown' }

export function cancelReply(reply: unknown): CancelAnswer[] {
  const [letters] = reply as [string]
  return Array.from(letters, (letter) => CANCEL_ANSWERS[letter] as CancelAnswer)
}

export const promoteArgs = (ids: readonly string[], priority: number | undefined): string[] => [
  priority === undefined ? '' : String(priority),
  ...ids.map(shortId),
]

const PROMOTE_ANSWERS: Record<string, PromoteAnswer> = { d: 'due', r: 'running', e: 'ended', u: 'unknown' }

export function promoteReply(reply: unknown): PromoteAnswer[] {
  const [letters] = reply as [string]
  return Array.from(letters, (letter) => PROMOTE_ANSWERS[letter] as PromoteAnswer)
}

const LETTERS = { pending: 'p', running: 'r', completed: 'c', failed: 'f', cancelled: 'x' } as const

/**
 * Where a list goes on: the shard, SCAN's cursor there, and how many keys of that step have been answered.
 */
export interface Position {
  shard: number
  cursor: string
  skip: number
}

export function listArgs(
  { cursor, skip }: Position,
  room: number,
  { status, name, queue }: Filter,
): string[] {
  return [
    cursor,
    String(SCAN_COUNT),
    String(skip),
    String(room),
    status === undefined ? '' : `=${LETTERS[status]}`,
    name === undefined ? '' : `=${name}`,
    queue === undefined ? '' : `=${queue === 'default' ? '' : queue}`,
  ]
}

export function listReply(reply: unknown): { cursor: string; skip: number; entries: Entry[] } {
  const [cursor, skip, rows] = reply as [string, number, Row[]]
  return { cursor, skip, entries: rows.map(readRow) }
}

export function readPosition(text: string | undefined, shards: number): Position {
  const match = /^(\d+):(\d+):(\d+)$/.exec(text ?? '0:0:0')
  if (match === null || Number(match[1]) >= shards) {
    throw new DeferqError(
      'INVALID_OPTION',
      `The cursor '${text}' is none of this store's: take it from the page before.`,
    )
  }
  return { shard: Number(match[1]), cursor: match[2] as string, skip: Number(match[3]) }
}

export const pauseArgs = (lanes: Lanes, paused: boolean): string[] => [
  'queue' in lanes ? `q${lanes.queue === 'default' ? '' : lanes.queue}` : `n${lanes.name}`,
  paused ? '1' : '0',
]

export function addCounts(counts: Map<string, number>, paused: Set<string>, reply: unknown): void {
  const [list, held] = reply as [string[], string[]]
  for (const lanes of held) paused.add(lanes)
  for (let index = 0; index < list.length; index += 2) {
    const field = list[index] as string
    counts.set(field, (counts.get(field) ?? 0) + Number(list[index + 1]))
  }
}

export function countsOf(fields: ReadonlyMap<string, number>, paused: ReadonlySet<string>): Counts {
  const lanes = new Map<string, Counts['lanes'][0]>()
  const totals: Counts['totals'] = {}
  for (const [field, count] of fields) {
    const rest = field.slice(1)
    if (field.startsWith('t')) {
      totals[rest as Total] = (totals[rest as Total] ?? 0) + count
      continue
    }
    let lane = lanes.get(rest)
    if (lane === undefined) lanes.set(rest, (lane = { ...laneOf(rest), pending: 0, running: 0 }))
    if (field.startsWith('p')) lane.pending = count
    else if (field.startsWith('r')) lane.running += count
    else {
      lane.running -= count
      totals.completed = (totals.completed ?? 0) + count
    }
  }
  // Whatever was created waits, runs or has ended: one counter less to keep with each dispatch.
  const { completed = 0, failed = 0, cancelled = 0 } = totals
  const live = [...lanes.values()].reduce((sum, { pending, running }) => sum + pending + running, 0)
  totals.created = live + completed + failed + cancelled
  return {
    lanes: [...lanes.values()].filter(({ pending, running }) => pending > 0 || running > 0),
    paused: Array.from(paused, (each) => {
      const rest = each.slice(1)
      return each.startsWith('q') ? { queue: rest || 'default' } : { name: rest }
    }),
    totals,
  }
}

/** `<length of the queue in bytes>:<queue><name>`, as the scripts spell it. */
function laneOf(text: string): { queue: string; name: string } {
  const bytes = Buffer.from(text)
  const colon = bytes.indexOf(':')
  const end = colon + 1 + Number(bytes.toString('utf8', 0, colon))
  return { queue: bytes.toString('utf8', colon + 1, end) || 'default', name: bytes.toString('utf8', end) }
}
