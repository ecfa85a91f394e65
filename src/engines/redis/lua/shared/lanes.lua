-- Lanes: lists of tickets of ready runs, in order of due time; and the groups that share them.

local function spelled(lane)
  local one = lanesSpelled[lane]
  if not one then
    local priority, length, rest = match(lane, '^(-?%d+):(%d+):(.*)$')
    length = tonumber(length)
    local groupAt = findText(lane, '\1', 1, true)
    one = {
      text = lane, priority = tonumber(priority), key = L .. lane, lane = sub(lane, #priority + 2, (groupAt or 0) - 1),
      queue = sub(rest, 1, length), name = sub(rest, length + 1),
    }
    if groupAt then
      one.group = sub(lane, groupAt + 1)
      one.name = sub(one.name, 1, -#one.group - 2)
      one.member = one.name .. '\1' .. one.group
    end
    lanesSpelled[lane] = one
  end
  return one
end

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
    return r and tonumber(r.due) or 0, found
  end
  local low, high, pivot = 0, call('LLEN', one.key), nil
  if high > 0 then
    -- The ends first: what is released belongs to the front, what is due now to the back.
    local first, found = dueAt(0)
    if first > due then high, pivot = 0, found elseif dueAt(high - 1) <= due then low = high end
  end
  while low < high do
    local middle = floor((low + high) / 2)
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
  local member = kind.name .. '\1' .. kind.group
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
