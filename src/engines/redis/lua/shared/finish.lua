-- The end of every script that changes something: hand over, write, wake, count, tell.

local function give(r, want, address, member)
  local token, expiry = member .. '.h', now + want.leaseMs
  local status, attempt, begun, last, before = r.status, r.attempt, r.begun, r.token, r.before
  if last ~= '' then r.before = last end
  r.status, r.attempt, r.begun, r.token = 'r', place4(attempt + 1), NOW, token
  local text = compose(r)
  if not publish(address, 'h' .. shard .. ' ' .. token .. ' ' .. r.id .. text) then
    -- An instance that is gone has begun nothing: for the next one the run is as it was.
    r.status, r.attempt, r.begun, r.token, r.before = status, attempt, begun, last, before
    return false
  end
  if births[#births - 1] == r.k then births[#births] = text else put(r.k, text) end
  lease(expiry, { r.k, whole(expiry) })
  bump(r.kind.pending, -1)
  bump(r.kind.running, 1)
  pushed, pushedLanes = {}, {}
  return true
end

-- A single run that became ready goes straight to one who waits for it, if nothing is ahead of it: claimed here, and sent instead
-- of the hint. It is one round trip of three between a dispatch and its result. Only where PUBLISH tells whether it was heard.
local function handOver()
  local name = pushedLanes[1]
  if not name or #pushedLanes > 1 or #pushed[name] > 1 or not (counted or ownWant) then return end
  if not ownWant then
    waiting = waiting or call('HGETALL', WANTS)
    if #waiting == 0 then return end
  end
  local ticket, lane = pushed[name][1], spelled(name)
  if lane.group then return end
  local r = redeem(ticket)
  if not r or r.side ~= '' or r.attempt + 1 >= r.kind.policy[1] then return end
  if call('EXISTS', lane.key, T .. 'paused') > 0 then return end
  -- The one who asks first: it needs no message.
  if ownWant and call('SREM', IDLE .. ownName, ownMember) == 1 and give(r, readWant(ownWant), own, ownMember) then return end
  if not counted then return end
  eachWaiting(lane, true, function(want, address, member) return give(r, want, address, member) end)
end

-- Tells as many of those who wait as runs became ready, not all: one run wakes one.
local function wake()
  for lane, count in pairs(ready) do
    if count > 0 then
      eachWaiting(spelled(lane), false, function(_, address, member)
        if publish(address, 'w' .. shard .. ' ' .. member) then count = count - 1 end
        return count == 0
      end)
    end
  end
end

local STEPS = { [1] = '1', [-1] = '-1' }

-- Every script that changes something ends with this.
local function finish()
  handOver()
  write()
  flush()
  wake()
  for field, by in pairs(counts) do
    if by ~= 0 then call('HINCRBY', COUNTS, field, STEPS[by] or by) end
  end
  for _, address in ipairs(hearers) do
    local told = hints[address]
    -- An end brings its text along where it can, which saves who waits a round trip.
    local from, size = 1, 0
    for last = 3, #told.texts, 3 do
      size = size + #told.texts[last]
      if size > MAX_HINT or last == #told.texts then
        publish(address, 'E' .. table.concat(told.texts, '', from, last))
        from, size = last + 1, 0
      end
    end
    for _, kind in ipairs({ 'e', 'c' }) do
      add(function(list, from, to) publish(address, kind .. table.concat(list, '', from, to)) end, told[kind])
    end
  end
end
