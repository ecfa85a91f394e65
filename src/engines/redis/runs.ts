// The verbs that look at runs and end them from outside: `read`, `cancel`, `list` and `count`.
import type { CancelAnswer, Counts, Entry, Filter, Total } from '../../engine.ts'
import { DeferqError } from '../../errors.ts'
import type { Row } from './ids.ts'
import { readEntry, shortId } from './ids.ts'

/** How many keys one step of a list looks at: a fraction of a millisecond where few match. */
const SCAN_COUNT = 500

/**
 * In: ARGV 2 the address of the instance that watches, or ''; then the ids.
 * Out: a row per id, or 0; what was malformed.
 */
export const READ = `
local rows, keys, watcher = {}, {}, ARGV[2]
for at = 3, #ARGV do keys[at - 2] = E .. sub(ARGV[at], 1, 43) end
fetch(keys)
for at = 3, #ARGV do
  local r = find(ARGV[at])
  local text
  if r and watcher ~= '' and (r@status == 'p' or r@status == 'r') and not string.find(r@watchers, watcher, 1, true) then
    r@watchers = (r@watchers == '' and '' or r@watchers .. ' ') .. watcher
    text = save(r)
  end
  rows[#rows + 1] = r and rowOf(r, text) or 0
end
write()
return { rows, malformed }
`

export const readArgs = (ids: readonly string[], watcher: string): string[] => [watcher, ...ids.map(shortId)]

export function readReply(reply: unknown): (Entry | undefined)[] {
  const [rows] = reply as [(Row | 0)[]]
  return rows.map((row) => (row === 0 ? undefined : readEntry(row)))
}

/**
 * In: ARGV 2 the reason marked with e, or ''; then the ids.
 * Out: a letter per id: c cancelled, e ended by itself, u unknown; what was malformed.
 */
export const CANCEL = `
local answers = {}
for at = 3, #ARGV do
  local r = find(ARGV[at])
  if not r then
    answers[#answers + 1] = 'u'
  elseif r@status == 'c' or r@status == 'f' then
    answers[#answers + 1] = 'e'
  else
    answers[#answers + 1] = 'c'
    if r@status == 'r' then
      call('HDEL', LEASES, r@ticket)
      bump(r@kind.running, -1)
      -- A token begins with the address of the instance that holds it.
      tell(sub(r@token, 1, 8), 'c', r@id)
      -- Only a token that settled something is answered again; this one was taken away.
      r@token = ''
    elseif r@status == 'p' then
      if call('ZREM', D, r@ticket) == 0 then drop(laneOf(r), r@ticket) end
      bump(r@kind.pending, -1)
    end
    if r@status ~= 'x' then
      if ARGV[2] ~= '' then addError(r, sub(ARGV[2], 2)) end
      conclude(r, 'x')
    end
  end
end
finish()
return { table.concat(answers), malformed }
`

export const cancelArgs = (ids: readonly string[], reason: string | undefined): string[] => [
  reason === undefined ? '' : `e${reason}`,
  ...ids.map(shortId),
]

const CANCEL_ANSWERS: Record<string, CancelAnswer> = { c: 'cancelled', e: 'ended', u: 'unknown' }

export function cancelReply(reply: unknown): CancelAnswer[] {
  const [letters] = reply as [string]
  return Array.from(letters, (letter) => CANCEL_ANSWERS[letter] as CancelAnswer)
}

/**
 * One step of SCAN, on the node that holds the shard. A step that finds more than there is room for is taken
 * again by the next page, which skips what has been answered.
 * In: ARGV 2 the cursor, 3 how many keys to look at, 4 how many of those found to skip, 5 the room; 6 to 8
 * status letter, name and queue, each marked with = or ''.
 * Out: the cursor to go on with, and how many to skip there; the rows; what was malformed.
 */
export const LIST = `
local step = call('SCAN', ARGV[2], 'MATCH', T .. '[ea]:*', 'COUNT', ARGV[3])
local keys, rows, room = step[2], {}, tonumber(ARGV[5])
local function is(wanted, value) return wanted == '' or sub(wanted, 2) == value end
fetch(keys)
for index = tonumber(ARGV[4]) + 1, #keys do
  if #rows == room then return { ARGV[2], index - 1, rows, malformed } end
  local k = keys[index]
  local r = read(k, sub(k, #T + 3))
  if r and is(ARGV[6], r@status) and is(ARGV[7], r@kind.name) and is(ARGV[8], r@kind.queue) then
    rows[#rows + 1] = rowOf(r)
  end
end
return { step[1], 0, rows, malformed }
`

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
  return { cursor, skip, entries: rows.map(readEntry) }
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

/** Out: the counters' fields and values in turn. */
export const COUNT = `return call('HGETALL', COUNTS)`

export function addCounts(counts: Map<string, number>, reply: unknown): void {
  const list = reply as string[]
  for (let index = 0; index < list.length; index += 2) {
    const field = list[index] as string
    counts.set(field, (counts.get(field) ?? 0) + Number(list[index + 1]))
  }
}

export function countsOf(fields: ReadonlyMap<string, number>): Counts {
  const lanes = new Map<string, Counts['lanes'][0]>()
  const totals: Counts['totals'] = {}
  for (const [field, count] of fields) {
    const rest = field.slice(1)
    if (field.startsWith('t')) {
      totals[rest as Total] = count
      continue
    }
    let lane = lanes.get(rest)
    if (lane === undefined) lanes.set(rest, (lane = { ...laneOf(rest), pending: 0, running: 0 }))
    lane[field.startsWith('p') ? 'pending' : 'running'] = count
  }
  // Whatever was created waits, runs or has ended: one counter less to keep with each dispatch.
  const { completed = 0, failed = 0, cancelled = 0 } = totals
  const live = [...lanes.values()].reduce((sum, { pending, running }) => sum + pending + running, 0)
  totals.created = live + completed + failed + cancelled
  return { lanes: [...lanes.values()].filter(({ pending, running }) => pending > 0 || running > 0), totals }
}

/** `<length of the queue in bytes>:<queue><name>`, as the scripts spell it. */
function laneOf(text: string): { queue: string; name: string } {
  const bytes = Buffer.from(text)
  const colon = bytes.indexOf(':')
  const end = colon + 1 + Number(bytes.toString('utf8', 0, colon))
  return { queue: bytes.toString('utf8', colon + 1, end) || 'default', name: bytes.toString('utf8', end) }
}

/**
 * In: the names of the wants this instance is registered under, and how, in turn.
 * Out: how many of them it was registered under no more: news for it is under way.
 */
export const LEAVE = `
local gone = 0
for at = 2, #ARGV, 2 do gone = gone + 1 - call('SREM', IDLE .. ARGV[at], ARGV[at + 1]) end
return gone
`
