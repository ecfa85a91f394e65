// The verbs that look at runs and end them from outside: `read`, `cancel`, `promote`, `list` and `count`.

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

/**
 * In: ARGV 2 the address of the instance that watches, or ''; then ids, or keys for what stands there.
 * Out: per id the run's own and its text as one text, or a row where something lies beside that text, or 0; what was malformed.
 */
export const READ = `
local rows, keys, watcher = {}, {}, ARGV[2]
for at = 3, #ARGV do keys[at - 2] = E .. sub(ARGV[at], 1, 43) end
fetch(keys)
for at = 3, #ARGV do
  local id = ARGV[at]
  if #id == 43 then id = id .. runOf(get(E .. id) or '') end
  local r, text = find(id), nil
  if r and r@attend ~= '' then
    r@attend = attended(r@id, sub(r@attend, 14))
    text = save(r)
  end
  if r and watcher ~= '' and (r@status == 'p' or r@status == 'r') and not string.find(r@watchers, watcher, 1, true) then
    r@watchers = (r@watchers == '' and '' or r@watchers .. ' ') .. watcher
    text = save(r)
  end
  local row = r and rowOf(r, text)
  rows[#rows + 1] = not row and 0 or row[3] and row or row[2] .. row[1]
end
write()
return { rows, malformed }
`

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
    if r@status ~= 'x' then cancelRun(r, ARGV[2] ~= '' and sub(ARGV[2], 2)) end
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
 * In: ARGV 2 the priority that they are to have at least, or ''; then the ids.
 * Out: a letter per id: d due now, r running, e ended, u unknown; what was malformed.
 */
export const PROMOTE = `
local answers, atLeast = {}, tonumber(ARGV[2])
moveDue()
for at = 3, #ARGV do
  local r = find(ARGV[at])
  if r and r@status == 'p' then
    advance(r, min(tonumber(r@due), now), max(tonumber(r@priority), atLeast or tonumber(r@priority)))
    save(r)
  end
  answers[#answers + 1] = not r and 'u' or r@status == 'p' and 'd' or r@status == 'r' and 'r' or 'e'
end
finish()
return { table.concat(answers), malformed }
`

export const promoteArgs = (ids: readonly string[], priority: number | undefined): string[] => [
  priority === undefined ? '' : String(priority),
  ...ids.map(shortId),
]

const PROMOTE_ANSWERS: Record<string, PromoteAnswer> = { d: 'due', r: 'running', e: 'ended', u: 'unknown' }

export function promoteReply(reply: unknown): PromoteAnswer[] {
  const [letters] = reply as [string]
  return Array.from(letters, (letter) => PROMOTE_ANSWERS[letter] as PromoteAnswer)
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

/** Out: the counters' fields and values in turn; what is paused. */
export const COUNT = `return { call('HGETALL', COUNTS), call('SMEMBERS', T .. 'paused') }`

/** In: ARGV 2 q or n and the queue or name, 3 whether it is to be paused: 1 or 0. */
export const PAUSE = `
if ARGV[3] == '1' then
  call('SADD', T .. 'paused', ARGV[2])
  call('ZADD', LANES, '-inf', '!')
elseif call('SREM', T .. 'paused', ARGV[2]) == 1 then
  if call('EXISTS', T .. 'paused') == 0 then call('ZREM', LANES, '!') end
  for _, name in ipairs(call('ZRANGE', LANES, '0', '-1')) do
    local member = sub(name, 1, 1) == 'g' and sub(name, 2)
    if member then
      local group = call('ZRANGE', T .. 't:' .. member, '0', '0')[1]
      name = group and call('ZRANGE', T .. 'g:' .. member .. '\\1' .. group, '0', '0')[1] or '!'
    end
    local lane = name ~= '!' and spelled(name)
    if lane and (ARGV[2] == 'n' .. lane.name or ARGV[2] == 'q' .. lane.queue) then
      ready[name] = call('LLEN', lane.key)
    end
  end
end
finish()
return 1
`

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

/**
 * In: the names of the wants this instance is registered under, and how, in turn.
 * Out: how many of them it was registered under no more: news for it is under way.
 */
export const LEAVE = `
local gone = 0
for at = 2, #ARGV, 2 do gone = gone + 1 - call('SREM', IDLE .. ARGV[at], ARGV[at + 1]) end
return gone
`
