// The server-side scripts' third part: lanes, tickets, and the birth of a run.
import { INLINE } from './layout.ts'

/** How many of the delayed are looked at for the one that is wanted next. */
export const MAX_LOOK = 16
/** How many of the delayed move to their lanes in one call: 2 ms at the most. */
const MAX_MOVED = 500

export const LANES = `
local lanesSpelled = {}
local function spelled(lane)
  local one = lanesSpelled[lane]
  if not one then
    local priority, length, rest = match(lane, '^(-?%d+):(%d+):(.*)$')
    length = tonumber(length)
    local groupAt = string.find(lane, '\\1', 1, true)
    one = {
      text = lane, priority = tonumber(priority), key = L .. lane, lane = sub(lane, #priority + 2, (groupAt or 0) - 1),
      queue = sub(rest, 1, length), name = sub(rest, length + 1),
    }
    if groupAt then
      one.group = sub(lane, groupAt + 1)
      one.name = sub(one.name, 1, -#one.group - 2)
      one.member = one.name .. '\\1' .. one.group
    end
    lanesSpelled[lane] = one
  end
  return one
end

-- A group may give something out. One that was served takes its place behind those that were not.
local turn
local function openGroup(name, group)
  turn = turn or tonumber(call('GET', T .. 'turn') or 0)
  call('ZADD', T .. 't:' .. name, 'NX', turn, group)
  call('ZADD', LANES, 0, 'g' .. name)
end

local function closeName(name)
  if call('EXISTS', T .. 't:' .. name, T .. 'o:' .. name) == 0 then call('ZREM', LANES, 'g' .. name) end
end

-- The lane holds tickets.
local function listed(one)
  if not one.group then return call('ZADD', LANES, -one.priority, one.text) end
  call('ZADD', T .. 'g:' .. one.member, -one.priority, one.text)
  openGroup(one.name, one.group)
end

-- It holds none any more.
local function unlisted(one)
  if not one.group then return call('ZREM', LANES, one.text) end
  call('ZREM', T .. 'g:' .. one.member, one.text)
  if call('EXISTS', T .. 'g:' .. one.member) == 1 then return end
  call('ZREM', T .. 't:' .. one.name, one.group)
  call('ZREM', T .. 'o:' .. one.name, one.group)
  closeName(one.name)
end

local pushed, pushedLanes = {}, {}
-- How many runs of each lane became ready, or due sooner than anybody was told.
local ready = {}
local function push(lane, ticket)
  local tickets = pushed[lane]
  if not tickets then
    tickets = {}
    pushed[lane] = tickets
    pushedLanes[#pushedLanes + 1] = lane
  end
  tickets[#tickets + 1] = ticket
end

local function flush()
  if #pushedLanes == 0 then return end
  for _, lane in ipairs(pushedLanes) do
    local tickets, one = pushed[lane], spelled(lane)
    local length
    add(function(list, from, to) length = call('RPUSH', one.key, unpack(list, from, to)) end, tickets)
    -- A lane that held something is among the lanes already.
    if length == #tickets then listed(one) end
    ready[lane] = (ready[lane] or 0) + #tickets
  end
  pushed, pushedLanes = {}, {}
end

-- A ticket at its place by due time, for what does not belong at the end: what was released, or changed
-- lanes.
local function place(lane, ticket, due)
  flush()
  local one = spelled(lane)
  local function dueAt(index)
    local found = call('LINDEX', one.key, index)
    local r = redeem(found)
    -- A stale one stands anywhere; those after it are looked at.
    return r and tonumber(r@due) or 0, found
  end
  local low, high, pivot = 0, call('LLEN', one.key), nil
  if high > 0 then
    -- The ends first: what is released belongs to the front, what is due now to the back.
    local first, found = dueAt(0)
    if first > due then high, pivot = 0, found elseif dueAt(high - 1) <= due then low = high end
  end
  while low < high do
    local middle = math.floor((low + high) / 2)
    local at, found = dueAt(middle)
    if at > due then high, pivot = middle, found else low = middle + 1 end
  end
  if pivot then call('LINSERT', one.key, 'BEFORE', pivot, ticket) else call('RPUSH', one.key, ticket) end
  listed(one)
  ready[lane] = (ready[lane] or 0) + 1
end

-- Takes a ticket out, where that is cheap: 512 comparisons take 5 µs. Elsewhere it stays behind as a stale
-- one.
local function drop(lane, ticket)
  flush()
  local key = L .. lane
  if call('LLEN', key) <= 512 and call('LREM', key, 1, ticket) == 1 and call('EXISTS', key) == 0 then
    unlisted(spelled(lane))
  end
end

-- So many more of its group run, or fewer.
local function ran(kind, by)
  local member = kind.name .. '\\1' .. kind.group
  if call('HINCRBY', T .. 'gr', member, by) <= 0 then call('HDEL', T .. 'gr', member) end
  if by > 0 then return end
  -- There is room for another, if one waits.
  local lane = call('ZRANGE', T .. 'g:' .. member, '0', '0')[1]
  if not lane then return end
  openGroup(kind.name, kind.group)
  ready[lane] = max(ready[lane] or 0, 1)
end

-- So many attempts are over.
local function freed(kind, count)
  bump(kind.running, -count)
  if kind.group then ran(kind, -count) end
end

-- The first of what is due later, as long as nothing was added since it was read.
local soon
local function delay(lane, ticket, due)
  call('ZADD', D, due, ticket)
  soon = nil
  -- One who sleeps has to learn that something is due sooner than it was told.
  ready[lane] = max(ready[lane] or 0, 1)
end

local function enqueue(lane, ticket, due)
  if due > now then delay(lane, ticket, due) else push(lane, ticket) end
end

-- What has become due moves to its lane, before anything else gets there, so that lanes stay in order of due
-- time.
local function moveDue()
  soon = call('ZRANGE', D, '0', '${MAX_LOOK - 1}', 'WITHSCORES')
  if not soon[1] or tonumber(soon[2]) > now then return end
  soon = nil
  local due = call('ZRANGEBYSCORE', D, '-inf', now, 'LIMIT', 0, ${MAX_MOVED})
  if #due == 0 then return end
  local keys = {}
  for index, ticket in ipairs(due) do keys[index] = keyOf(ticket) end
  fetch(keys)
  for _, ticket in ipairs(due) do
    local r = redeem(ticket)
    if r and r@status == 'p' then push(laneOf(r), ticket) end
  end
  call('ZREM', D, unpack(due))
  flush()
end

-- Answers whether that changes anything, which is to be saved then.
local function advance(r, due, priority)
  if due == tonumber(r@due) and priority == tonumber(r@priority) then return false end
  local lane = laneOf(r)
  r@due, r@priority = moment(due), place4(priority)
  -- What waits behind another is in no lane.
  if r@status == 'p' and #r@ticket == 45 then
    if call('ZREM', D, r@ticket) == 0 then drop(lane, r@ticket) end
    if due > now then delay(laneOf(r), r@ticket, due) else place(laneOf(r), r@ticket, due) end
  end
  return true
end

-- What a run's text begins with, and what follows the run's own part of its id, up to its params.
local function birth(kind, priority, due, watchers, accepted, side, attend)
  if due <= now and priority == 0 and not watchers and not accepted and side == '' and not attend then
    return 'n', NOW .. kind.length .. kind.text
  end
  return 'p', NOW .. kind.length .. moment(due) .. NEVER .. USUAL .. place4(priority) .. NEVER .. NEVER .. NEVER .. USUAL .. ',,,'
    .. (accepted or '') .. ',,' .. (watchers or '') .. ',' .. side .. ',,' .. (attend or '') .. ';' .. kind.text
end

-- Somebody has asked for the run: attend is r or p, and for how long that lasts.
local function attended(id, attend)
  local until_ = now + tonumber(sub(attend, 2))
  call('ZADD', T .. 'attended', until_, id)
  return moment(until_) .. attend
end

-- A run from its birth: under its key, pending; or behind what stands there, aside and in no lane.
local function create(kind, id, params, priority, due, watchers, accepted, parent, thens, attend, behind)
  local ticket, side = sub(id, 1, 45), ''
  bump(kind.pending, 1)
  if not behind then enqueue(laneAt(kind, priority), ticket, due) end
  if attend then attend = attended(id, attend) end
  if #params > ${INLINE} then
    call('HSET', X .. id, 'p', params)
    side, params = side .. 'p', ''
  end
  if parent then
    side = side .. 'P'
    call('HSET', X .. id, 'P', parent.id .. parent.status, 'N', parent.name)
    if parent.value then call('HSET', X .. id, 'V', parent.value) end
  end
  if thens and #thens > 0 then
    side = side .. '+'
    for _, follow in ipairs(thens) do call('HSET', X .. id, '+' .. follow.id, follow.text) end
  end
  local letter, head = birth(kind, priority, due, watchers, accepted, side, attend)
  bornAs(behind and A .. id or E .. sub(id, 1, 43), letter .. sub(id, 44) .. head .. params)
end

local WIDE = string.rep('-', 65) -- once
local function lease(expiry, list)
  local many = #list >= 32
  if #list == 0 then return end
  -- A small hash is a list that is gone through for each field, unless it had a long one: that took a batch a twelfth of its time.
  if many then call('HSET', LEASES, WIDE, '') end
  add(function(all, from, to) call('HSET', LEASES, unpack(all, from, to)) end, list)
  if many then call('HDEL', LEASES, WIDE) end
  leaseEnds(expiry)
end
`
