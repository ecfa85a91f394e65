// The verbs `extend` and `sweep`: the heartbeat of what runs, and the recovery of what died with its worker.

import type { Lease, LeaseAnswer, Swept } from '../../contract/engine.ts'
import { leaseLostError } from '../../contract/store-errors.ts'
import { longId, shortId } from './ids.ts'
import { LOOK_MS } from './lua/basics.ts'
import { LEASE } from './lua/layout.ts'

/**
 * In: ARGV 2 how long in ms; then per lease its id and token in one, and its progress marked with p, or ''.
 * Out: a letter per lease: h held, l lost, c cancelled.
 */
export const EXTEND = `
local answers, held, expiry, keys = {}, {}, now + tonumber(ARGV[2]), {}
for at = 3, #ARGV, 2 do keys[#keys + 1] = E .. sub(ARGV[at], 1, 43) end
fetch(keys)
for at = 3, #ARGV, 2 do
  local id, token, progress = sub(ARGV[at], 1, 59), sub(ARGV[at], 60), ARGV[at + 1]
  local r = find(id)
  if r and r@status == 'r' and r@token == token then
    if progress ~= '' then
      local side = r@side
      aside(r, 'g', 'g', sub(progress, 2))
      if r@side ~= side then save(r) end
    end
    local before = leased[r@k]
    held[#held + 1] = r@k
    held[#held + 1] = whole(expiry) .. (before and sub(before, ${LEASE.begun}) or '')
    answers[#answers + 1] = 'h'
  else
    answers[#answers + 1] = r and r@status == 'x' and 'c' or 'l'
  end
end
write()
lease(expiry, held)
return { table.concat(answers), malformed }
`

export function extendArgs(leases: readonly Lease[], leaseMs: number): string[] {
  const args = [String(leaseMs)]
  for (const { id, token, progress } of leases) {
    args.push(shortId(id) + token, progress === undefined ? '' : `p${progress}`)
  }
  return args
}

const LEASE_ANSWERS: Record<string, LeaseAnswer> = { h: 'held', l: 'lost', c: 'cancelled' }

export function extendReply(reply: unknown): LeaseAnswer[] {
  const [letters] = reply as [string]
  return Array.from(letters, (letter) => LEASE_ANSWERS[letter] as LeaseAnswer)
}

/** A lane is cleared of stale tickets once it holds this many, and more than twice what is pending. */
const WORTH_CLEARING = 1_000
const CLEARED_AT_ONCE = 2_000
/** How many leases one step looks at: 1 ms. */
const LOOKED_AT = 1_000

/**
 * In: ARGV 2 the limit, 3 the error of a lost lease, with @A for the attempt and @T for the time.
 * Out: the ids of what went back, of what failed, and of what was cancelled because nobody asked for it; 1 if there is more to look at, what was malformed.
 */
export const SWEEP = `
moveDue()
local requeued, failed, abandoned = {}, {}, {}

-- Nothing to find before the first lease ends; then, or when that is not known, all of them are looked through, in steps, by one
-- sweep or by several.
local expired, limit = {}, tonumber(ARGV[2])
local scan = call('GET', T .. 'leaseScan')
if not scan and now >= tonumber(call('GET', T .. 'firstLease') or 0) then
  scan = '0'
  call('SET', T .. 'firstLease', whole(now + ${LOOK_MS}))
end
if scan then
  local step = call('HSCAN', LEASES, scan, 'COUNT', ${LOOKED_AT})
  local later
  for index = 1, #step[2], 2 do
    local expiry = tonumber(sub(step[2][index + 1], 1, ${LEASE.begun - 1})) or 0
    if expiry <= now and #expired < limit then
      expired[#expired + 1] = step[2][index]
    else
      later = min(later or expiry, expiry)
    end
  end
  if later and later < tonumber(call('GET', T .. 'firstLease') or 0) then call('SET', T .. 'firstLease', whole(later)) end
  if step[1] == '0' then call('DEL', T .. 'leaseScan') else call('SET', T .. 'leaseScan', step[1]) end
  scan = step[1] ~= '0'
end
-- Their leases tell what they are.
fetch(expired)
add(function(list, from, to) call('HDEL', LEASES, unpack(list, from, to)) end, expired)
for _, k in ipairs(expired) do
  local r = stands(k)
  if r and r@status == 'r' then
    local attempt = tonumber(r@attempt)
    local error = string.gsub(string.gsub(ARGV[3], '@A', attempt), '@T', string.format('%.0f', now))
    -- Only a token that settled something is answered again; this one was taken away.
    r@token = ''
    addError(r, error)
    freed(r@kind, 1)
    bump('tleasesLost', 1)
    if attempt >= r@kind.policy[1] then
      conclude(r, 'f')
      failed[#failed + 1] = r@id
    else
      r@status, r@due = 'p', NOW
      save(r)
      bump(r@kind.pending, 1)
      push(laneOf(r), r@ticket)
      requeued[#requeued + 1] = r@id
    end
  end
end
flush()

-- Those that run on count for nothing: they must not stand in the way of the rest.
for _, id in ipairs(call('ZRANGEBYSCORE', T .. 'attended', '-inf', now, 'LIMIT', 0, ${LOOKED_AT})) do
  if #abandoned == limit then break end
  local r = find(id)
  local how, ms = string.match(r and r@attend or '', '^.............(%a)(%d+)$')
  if not how or (r@status ~= 'p' and r@status ~= 'r') then
    call('ZREM', T .. 'attended', id)
  elseif r@status == 'r' and how == 'p' then
    -- It runs on; should it come back, it is looked at again.
    call('ZADD', T .. 'attended', now + tonumber(ms), id)
  else
    cancelRun(r, errorText(ABANDONED, r))
    abandoned[#abandoned + 1] = id
  end
end
flush()

-- Stale tickets are dropped when they are taken, but where nothing is taken they would gather without bound:
-- such a lane is gone through in steps. Their places are marked first and then taken out in one pass.
for _, name in ipairs(call('ZRANGE', LANES, '0', '-1')) do
  local lane = match(name, '^[-%d]') and spelled(name)
  local length = lane and call('LLEN', lane.key)
  local pending = lane and tonumber(call('HGET', COUNTS, 'p' .. lane.lane) or 0)
  if not lane then
    -- A name whose groups have lanes of their own.
  elseif length == 0 then
    call('ZREM', LANES, name)
  elseif length > ${WORTH_CLEARING} and length > 2 * pending then
    local from = tonumber(call('HGET', T .. 'compact', name) or 0)
    local tickets, marked = call('LRANGE', lane.key, from, from + ${CLEARED_AT_ONCE - 1}), 0
    for index, ticket in ipairs(tickets) do
      -- It counts as long as it may be taken from here, now or after its due time.
      local r = ticket ~= '' and redeem(ticket)
      if not r or r@status ~= 'p' or laneOf(r) ~= name then
        call('LSET', lane.key, from + index - 1, '')
        marked = marked + 1
      end
    end
    if marked > 0 then call('LREM', lane.key, marked, '') end
    if call('EXISTS', lane.key) == 0 then call('ZREM', LANES, name) end
    if #tickets < ${CLEARED_AT_ONCE} then
      call('HDEL', T .. 'compact', name)
    else
      call('HSET', T .. 'compact', name, from + #tickets - marked)
    end
    break
  end
end

-- That something was completed is one counter to its end. Here the lane's and the store's are made good, so that a lane may go.
local function counters(each)
  local list = call('HGETALL', COUNTS)
  for index = 1, #list, 2 do each(list[index], list[index + 1]) end
end
local gone = {}
counters(function(field, count)
  if byte(field) ~= ${'c'.charCodeAt(0)} then return end
  bump('r' .. sub(field, 2), -count)
  bump('tcompleted', tonumber(count))
  gone[#gone + 1] = field
end)
finish()
counters(function(field, count)
  if count == '0' then gone[#gone + 1] = field end
end)
add(function(list, from, to) call('HDEL', COUNTS, unpack(list, from, to)) end, gone)
return { requeued, failed, abandoned, scan and 1 or 0, malformed }
`

// leaseLostError() spells the error; numbers that stand for themselves mark where the script fills in its
// own.
const TEMPLATE = leaseLostError(-111_111, -222_222).replaceAll('-111111', '@A').replaceAll('-222222', '@T')

export const sweepArgs = (limit: number): string[] => [String(limit), TEMPLATE]

export function sweepReply(reply: unknown): Omit<Swept, 'removed'> & { more: boolean } {
  const [requeued, failed, abandoned, more] = reply as [string[], string[], string[], number]
  return {
    requeued: requeued.map((id) => longId(id)),
    failed: failed.map((id) => longId(id)),
    abandoned: abandoned.map((id) => longId(id)),
    more: more === 1,
  }
}
