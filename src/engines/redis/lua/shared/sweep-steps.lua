-- The steps of a sweep that look through much: leases, stale tickets, counters.

-- A lane is cleared of stale tickets once it holds this many, and more than twice as many as are pending; and so many at once.
local WORTH_CLEARING, CLEARED_AT_ONCE = 1000, 2000
-- One step looks at this many leases: 1 ms.
local LOOKED_AT = 1000

-- Nothing to find before the first lease ends; then, or when that is not known, all of them are looked through, in steps, by one
-- sweep or by several.
-- Answers the Redis keys of the runs whose leases have ended, and whether there is more to look at.
local function endedLeases(limit)
  local expired = {}
  local scan = call('GET', T .. 'leaseScan')
  if not scan and now >= tonumber(call('GET', T .. 'firstLease') or 0) then
    scan = '0'
    call('SET', T .. 'firstLease', whole(now + LOOK_MS))
  end
  if scan then
    local step = call('HSCAN', LEASES, scan, 'COUNT', LOOKED_AT)
    local later
    for index = 1, #step[2], 2 do
      local expiry = tonumber(step[2][index + 1]) or 0
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
  return expired, scan
end

-- Stale tickets are dropped when they are taken, but where nothing is taken they would gather without bound:
-- such a lane is gone through in steps. Their places are marked first and then taken out in one pass.
local function clearStale()
  for _, name in ipairs(call('ZRANGE', LANES, '0', '-1')) do
    local lane = match(name, '^[-%d]') and spelled(name)
    local length = lane and call('LLEN', lane.key)
    local pending = lane and tonumber(call('HGET', COUNTS, 'p' .. lane.lane) or 0)
    if not lane then
      -- A name whose groups have lanes of their own.
    elseif length == 0 then
      call('ZREM', LANES, name)
    elseif length > WORTH_CLEARING and length > 2 * pending then
      local from = tonumber(call('HGET', T .. 'compact', name) or 0)
      local tickets, marked = call('LRANGE', lane.key, from, from + CLEARED_AT_ONCE - 1), 0
      for index, ticket in ipairs(tickets) do
        -- It counts as long as it may be taken from here, now or after its due time.
        local r = ticket ~= '' and redeem(ticket)
        if not r or r.status ~= 'p' or laneOf(r) ~= name then
          call('LSET', lane.key, from + index - 1, '')
          marked = marked + 1
        end
      end
      if marked > 0 then call('LREM', lane.key, marked, '') end
      if call('EXISTS', lane.key) == 0 then call('ZREM', LANES, name) end
      if #tickets < CLEARED_AT_ONCE then
        call('HDEL', T .. 'compact', name)
      else
        call('HSET', T .. 'compact', name, from + #tickets - marked)
      end
      break
    end
  end
end

local function counters(each)
  local list = call('HGETALL', COUNTS)
  for index = 1, #list, 2 do each(list[index], list[index + 1]) end
end

-- That something was completed is one counter to its end. Here the lane's and the store's are made good, so that a lane may go.
local function finishCounters()
  local gone = {}
  counters(function(field, count)
    if byte(field) ~= 99 then return end
    bump('r' .. sub(field, 2), -count)
    bump('tcompleted', tonumber(count))
    gone[#gone + 1] = field
  end)
  finish()
  counters(function(field, count)
    if count == '0' then gone[#gone + 1] = field end
  end)
  add(function(list, from, to) call('HDEL', COUNTS, unpack(list, from, to)) end, gone)
end
