-- How a run is born, becomes due, and changes its due time or priority.

local function delay(lane, ticket, due)
  call('ZADD', D, due, ticket)
  soon = nil
  -- One who sleeps has to learn that something is due sooner than it was told.
  ready[lane] = max(ready[lane] or 0, 1)
end

local function enqueue(lane, ticket, due)
  if due > now then delay(lane, ticket, due) else push(lane, ticket) end
end

-- Runs that have become due move to their lanes before anything else gets there, so lanes stay in order of due time.
local function moveDue()
  soon = call('ZRANGE', D, '0', LAST_LOOKED, 'WITHSCORES')
  if not soon[1] or tonumber(soon[2]) > now then return end
  soon = nil
  local due = call('ZRANGEBYSCORE', D, '-inf', now, 'LIMIT', 0, MAX_MOVED)
  if #due == 0 then return end
  local keys = {}
  for index, ticket in ipairs(due) do keys[index] = keyOf(ticket) end
  fetch(keys)
  for _, ticket in ipairs(due) do
    local r = redeem(ticket)
    if r and r.status == 'p' then push(laneOf(r), ticket) end
  end
  call('ZREM', D, unpack(due))
  flush()
end

-- Answers whether that changes anything, which is to be saved then.
local function advance(r, due, priority)
  if due == tonumber(r.due) and priority == tonumber(r.priority) then return false end
  local lane = laneOf(r)
  r.due, r.priority = moment(due), place4(priority)
  -- A run that waits behind another is in no lane.
  if r.status == 'p' and #r.ticket == 45 then
    if call('ZREM', D, r.ticket) == 0 then drop(lane, r.ticket) end
    if due > now then delay(laneOf(r), r.ticket, due) else place(laneOf(r), r.ticket, due) end
  end
  return true
end

-- Answers the first letter of a new run's text, and the part between its id and its params.
local function birth(kind, priority, due, watchers, accepted, side, attend)
  if due <= now and priority == 0 and not watchers and not accepted and side == '' and not attend then
    return 'n', NOW .. kind.length .. kind.text
  end
  return 'p', NOW .. kind.length .. moment(due) .. NEVER .. USUAL .. place4(priority) .. NEVER .. NEVER .. NEVER .. USUAL .. ',,,'
    .. (accepted or '') .. ',,' .. (watchers or '') .. ',' .. side .. ',,' .. (attend or '') .. ';' .. kind.text
end

-- An asker keeps the run alive: attend is r or p, and for how long that lasts.
local function attended(id, attend)
  local until_ = now + tonumber(sub(attend, 2))
  call('ZADD', T .. 'attended', until_, id)
  return moment(until_) .. attend
end

-- A run that is pending again is looked at by its own time, which a sweep puts off while the run goes on.
local function attendAgain(r)
  if sub(r.attend, 14, 14) == 'p' then call('ZADD', T .. 'attended', tonumber(sub(r.attend, 1, 13)), r.id) end
end

-- A run from its birth: under its key, pending; or behind what stands there, aside and in no lane.
local function create(kind, id, params, priority, due, watchers, accepted, parent, thens, attend, behind)
  local ticket, side = sub(id, 1, 45), ''
  bump(kind.pending, 1)
  if not behind then enqueue(laneAt(kind, priority), ticket, due) end
  if attend then attend = attended(id, attend) end
  if #params > INLINE then
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

local WIDE = '-----------------------------------------------------------------'

local function lease(expiry, list)
  local many = #list >= 32
  if #list == 0 then return end
  -- A small hash is a list that is gone through for each field, unless it had a long one: that took a batch a twelfth of its time.
  if many then call('HSET', LEASES, WIDE, '') end
  add(function(all, from, to) call('HSET', LEASES, unpack(all, from, to)) end, list)
  if many then call('HDEL', LEASES, WIDE) end
  leaseEnds(expiry)
end
