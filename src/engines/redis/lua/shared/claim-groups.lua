-- Claims from the lanes of groups, which take turns.

-- A claim looks at this many groups in one go.
local GROUPS = 500

-- How many more of a group may begin; 0 has taken it from among those that may give something out.
local function roomOf(name, group, limit)
  local member, room = name .. '\1' .. group, math.huge
  if limit and limit.running then room = limit.running - tonumber(call('HGET', T .. 'gr', member) or 0) end
  if room > 0 and limit and limit.rate then
    local rate = limit.rate
    local began = call('LRANGE', T .. 'b:' .. member, -rate.max, -1)
    local first = 1
    while began[first] and tonumber(began[first]) + rate.perMs <= now do first = first + 1 end
    room = min(room, rate.max - (#began - first + 1))
    if room <= 0 then call('ZADD', T .. 'o:' .. name, tonumber(began[#began - rate.max + 1]) + rate.perMs, group) end
  end
  if room <= 0 then call('ZREM', T .. 't:' .. name, group) end
  return room
end

-- The first of a group's lanes by priority, then due time.
local function headOf(g, wanted)
  local best
  for _, c in ipairs(g.lanes) do
    if best and c.priority < best.priority then break end
    if wanted(c) and (c.held or head(c, 16)) then
      c.held = true
      if not best or c.due < best.due then best = c end
    end
  end
  return best
end

-- The groups of a name take turns, the one first that was served longest ago.
local function claimGroups(want, name, limit, expiry, tokens, wanted)
  local rule, opened = want.limits[name], T .. 'o:' .. name
  for _, group in ipairs(call('ZRANGEBYSCORE', opened, '-inf', now, 'LIMIT', 0, GROUPS)) do
    call('ZREM', opened, group)
    if call('EXISTS', T .. 'g:' .. name .. '\1' .. group) == 1 then openGroup(name, group) end
  end
  local ring, from, order, looked = {}, 0, {}, {}
  while claims.count < limit and claims.stale < MAX_STALE do
    if #ring == 0 then
      -- Those that are full are no longer among them.
      local groups = call('ZRANGE', T .. 't:' .. name, from, from + GROUPS - 1)
      if #groups == 0 then break end
      for _, group in ipairs(groups) do
        local room = roomOf(name, group, rule)
        if room > 0 then
          from = from + 1
          local g = { group = group, room = room, count = 0, lanes = {} }
          for _, lane in ipairs(call('ZRANGE', T .. 'g:' .. name .. '\1' .. group, '0', '-1')) do
            g.lanes[#g.lanes + 1] = fromStart(spelled(lane))
          end
          ring[#ring + 1], looked[#looked + 1] = g, g
        end
      end
    end
    local next = {}
    for _, g in ipairs(ring) do
      local c = claims.count < limit and g.count < g.room and headOf(g, wanted)
      if c then
        take(c, expiry, tokens)
        c.held = false
        g.count = g.count + 1
        order[#order + 1] = g
        next[#next + 1] = g
      end
    end
    ring = next
  end
  local served = {}
  for at = #order, 1, -1 do
    local g = order[at]
    if not served[g.group] then served[g.group] = at end
  end
  turn = turn or tonumber(call('GET', T .. 'turn') or 0)
  for at, g in ipairs(order) do
    if served[g.group] == at then
      local member = name .. '\1' .. g.group
      turn = turn + 1
      call('ZADD', T .. 't:' .. name, 'XX', turn, g.group)
      call('HINCRBY', T .. 'gr', member, g.count)
      if rule and rule.rate then
        for _ = 1, g.count do call('RPUSH', T .. 'b:' .. member, whole(now)) end
        call('LTRIM', T .. 'b:' .. member, -rule.rate.max, -1)
        call('PEXPIRE', T .. 'b:' .. member, whole(rule.rate.perMs))
      end
    end
  end
  -- Stale tickets are gone from the others as well.
  for _, g in ipairs(looked) do
    for _, c in ipairs(g.lanes) do taken(c) end
  end
  if #order > 0 then call('SET', T .. 'turn', whole(turn)) end
  closeName(name)
  local nextOpen = call('ZRANGE', opened, '0', '0', 'WITHSCORES')[2]
  if nextOpen then claims.opens = min(claims.opens or math.huge, tonumber(nextOpen)) end
end
