-- Claims in order of priority and due time, and tells when something wanted is due next.

-- Tells of a lane whether it is wanted and not paused.
local function wantedOf(want, lanes)
  if lanes[1] ~= '!' then return function(lane) return wants(want, lane) end end
  local paused = {}
  for _, one in ipairs(call('SMEMBERS', T .. 'paused')) do paused[one] = true end
  return function(lane) return wants(want, lane) and not paused['n' .. lane.name] and not paused['q' .. lane.queue] end
end

-- In order of priority; several lanes of one priority are merged by due time.
local function claim(want, limit, leaseMs, tokens)
  local lanes = call('ZRANGE', LANES, '0', '-1')
  local at, expiry = 1, whole(now + leaseMs)
  local wanted = wantedOf(want, lanes)
  local grouped = {}
  if #lanes > 0 then
    local plain = {}
    for _, name in ipairs(lanes) do
      local first = byte(name)
      -- 'g', and what is no '!'.
      if first == 103 then
        name = sub(name, 2)
        if want.names[name] then grouped[#grouped + 1] = name end
      elseif first ~= 33 then
        plain[#plain + 1] = name
      end
    end
    lanes = plain
  end
  -- Half of what is wanted first, so that neither they nor the others wait for ever.
  for index, name in ipairs(grouped) do
    local share = math.ceil(limit / (#lanes == 0 and 1 or 2) * index / #grouped)
    if share > claims.count then claimGroups(want, name, share, expiry, tokens, wanted) end
  end
  while at <= #lanes and claims.count < limit and claims.stale < MAX_STALE do
    local group, priority = {}, nil
    while at <= #lanes do
      local lane = spelled(lanes[at])
      if priority and lane.priority ~= priority then break end
      priority = lane.priority
      if wanted(lane) then group[#group + 1] = fromStart(lane) end
      at = at + 1
    end
    if #group == 1 then
      local c, count = group[1], limit - claims.count
      while claims.count < limit and head(c, count) do take(c, expiry, tokens) end
    else
      local heads = {}
      for _, c in ipairs(group) do
        if head(c, 16) then heads[#heads + 1] = c end
      end
      table.sort(heads, function(one, other) return one.due < other.due end)
      while claims.count < limit and heads[1] do
        local c = table.remove(heads, 1)
        take(c, expiry, tokens)
        if head(c, 16) then
          local index = 1
          while heads[index] and heads[index].due <= c.due do index = index + 1 end
          table.insert(heads, index, c)
        end
      end
    end
    for _, c in ipairs(group) do taken(c) end
  end
  for _, name in ipairs(grouped) do
    if claims.count < limit then claimGroups(want, name, limit, expiry, tokens, wanted) end
  end
  lease(now + leaseMs, claims.leases)
  if claims.count >= limit or claims.stale >= MAX_STALE then claims.more = 1 end
end

-- Whether something wanted is ready, with nothing taken.
local function look(want)
  local lanes = call('ZRANGE', LANES, '0', '-1')
  local wanted = wantedOf(want, lanes)
  for _, lane in ipairs(lanes) do
    local name = sub(lane, 1, 1) == 'g' and sub(lane, 2)
    if name and want.names[name] or not name and lane ~= '!' and wanted(spelled(lane)) then
      claims.more = 1
      return
    end
  end
end

-- When something wanted is due next; if that lies behind many others, then when the last of those is.
local function findNextDue(want)
  local delayed = soon or call('ZRANGE', D, '0', LAST_LOOKED, 'WITHSCORES')
  for index = 1, #delayed, 2 do
    claims.nextDue = max(0, tonumber(delayed[index + 1]) - now)
    local r = redeem(delayed[index])
    if r and wants(want, spelled(laneOf(r))) then
      if claims.opens then claims.nextDue = min(claims.nextDue, max(0, claims.opens - now)) end
      return
    end
  end
  if #delayed < 2 * MAX_LOOK then claims.nextDue = -1 end
  if not claims.opens then return end
  local opensIn = max(0, claims.opens - now)
  claims.nextDue = claims.nextDue < 0 and opensIn or min(claims.nextDue, opensIn)
end
