// The claiming half of the script SETTLE.
import { MAX_LOOK } from './lua/lanes.ts'
import { LETTER, PLACE } from './lua/layout.ts'

/**
 * Stale tickets that one call passes over at the most, at 1 µs each. Whoever is stopped by it is told to ask
 * again.
 */
const MAX_STALE = 5_000

const KIND_AT = `
-- Most runs are of the kind of the one before: seen without cutting anything out.
local lastKind
local function kindAt(text, at)
  if lastKind and findText(text, lastKind.length, ${PLACE.length}, true) == ${PLACE.length}
    and findText(text, lastKind.text, at, true) == at then return lastKind end
  lastKind = kindOf(sub(text, at, at - 1 + (tonumber(sub(text, ${PLACE.length}, ${PLACE.head - 1}), 16) or 0)))
  return lastKind
end
`

// From how many on they are taken together, and how many at the most: Lua hands over no more than about 8,000 values.
const MANY = 8
const TOGETHER = 1_000

// How many groups a claim looks at in one go.
const GROUPS = 500

/**
 * Defines claim(want, limit, lease in ms, prefix of the tokens), look(want) and findNextDue(want), which
 * leave in `rows` of each claimed run its text (that which it was born with, where it keeps it), or that and what lies beside, in `tickets` their tickets, in `more` 1
 * where something wanted may be ready still, in `nextDue` in how many ms something wanted is due, or -1.
 */
export const CLAIMING = `
${KIND_AT}
local rows, tickets, more, nextDue, stale, leases = {}, {}, 0, -1, 0, {}
-- When a rate lets more begin, if that holds something wanted back.
local opens

-- A run whose own part begins so is the one that a ticket is for.
local function isFor(ticket, first, second)
  local one, two = byte(ticket, 44, 45)
  return one == first and two == second
end

-- The next ticket of a lane that holds good, in c.k, c.due, and c.row or (of a new run) c.new; the stale ones
-- before it are passed over.
local function head(c, count)
  while stale < ${MAX_STALE} do
    local ticket = c.tickets[c.at]
    if not ticket then
      if c.last then return false end
      c.tickets, c.at = call('LRANGE', c.key, c.taken, c.taken + count - 1), 1
      c.last = #c.tickets < count
      c.keys = {}
      for index, one in ipairs(c.tickets) do c.keys[index] = keyOf(one) end
      fetch(c.keys)
    else
      local k = c.keys[c.at]
      local text = cache[k]
      if text then
        -- A new run has nothing unusual: as with complete(), there is no need to take it apart.
        local letter, first, second = byte(text, 1, 3)
        if letter == ${LETTER.new} and c.priority == 0 and #ticket == 45 and isFor(ticket, first, second) then
          local kind, created = kindAt(text, ${PLACE.head}), sub(text, ${PLACE.created}, ${PLACE.length - 1})
          c.due = tonumber(created)
          if kind and laneAt(kind, 0) == c.text and c.due and c.due <= now then
            c.k, c.new, c.created, c.row = k, text, created, nil
            return true
          end
        end
        local r = redeem(ticket)
        if not r then
          -- Stale, or set aside just now.
          if not cache[k] then bump('p' .. c.lane, -1) end
        elseif r@status == 'p' and laneOf(r) == c.text then
          c.due = tonumber(r@due)
          if c.due <= now then
            c.k, c.row = k, r
            return true
          end
          -- Retried since, or the clock went back: its time is yet to come.
          call('ZADD', D, c.due, ticket)
          soon = nil
        end
      elseif call('EXISTS', k) == 1 then
        setAside(k, 'It is no text.')
        bump('p' .. c.lane, -1)
      end
      c.at, c.taken, stale = c.at + 1, c.taken + 1, stale + 1
    end
  end
  return false
end

local FIRST = NOW .. place4(1) .. USUAL .. NEVER .. NEVER .. NEVER .. USUAL
local claimed = 0
local function take(c, expiry, tokens)
  local r, ticket, text, beside = c.row, c.tickets[c.at], c.new, false
  if r then
    -- The token before stays known, so that a repeated settle of that attempt is answered as it was.
    if r@token ~= '' then r@before = r@token end
    r@status, r@attempt, r@begun, r@token = 'r', place4(r@attempt + 1), NOW, tokens .. '.' .. claimed
    text = save(r)
    beside = rowOf(r, text)[3] or false
  else
    text = 'r' .. sub(text, ${PLACE.run}, ${PLACE.head - 1}) .. c.created .. FIRST .. tokens .. suffix(claimed) .. sub(text, ${PLACE.head})
    put(c.k, text)
  end
  rows[claimed + 1] = beside and { text, beside } or text
  tickets[claimed + 1] = ticket
  local at = #leases
  leases[at + 1], leases[at + 2] = c.k, expiry
  claimed, c.count, c.at, c.taken = claimed + 1, c.count + 1, c.at + 1, c.taken + 1
end

-- What a large claim nearly always finds: runs as they were born, at the head of a lane. Their texts stay as they are, and their leases
-- tell that they have begun (layout.ts). What stands behind the first that is otherwise is left to head().
local function takeNew(c, limit, expiry, tokens)
  local count = min(limit, ${TOGETHER})
  if count < ${MANY} or c.priority ~= 0 then return end
  local list, keys = call('LRANGE', c.key, 0, count - 1), {}
  c.tickets, c.keys, c.last = list, keys, #list < count
  if #list == 0 then return end
  for index, ticket in ipairs(list) do keys[index] = keyOf(ticket) end
  local texts, held = call('MGET', unpack(keys)), call('HMGET', LEASES, unpack(keys))
  local begun, given, seen, usual, done = expiry .. NOW .. tokens, {}, {}, nil, 0
  for index, text in ipairs(texts) do
    local ticket, k = list[index], keys[index]
    -- A stale ticket fits one in 4,096 runs under the same key, and that may have begun. And what this script has read it may have changed.
    if not text or held[index] or seen[ticket] or cache[k] ~= nil or #ticket ~= 45 then break end
    local letter, first, second = byte(text, 1, 3)
    if letter ~= ${LETTER.new} or not isFor(ticket, first, second) then break end
    local kind = kindAt(text, ${PLACE.head})
    if kind ~= usual then
      if not kind or laneAt(kind, 0) ~= c.text then break end
      usual = kind
    end
    if (tonumber(sub(text, ${PLACE.created}, ${PLACE.length - 1})) or math.huge) > now then break end
    given[2 * index - 1], given[2 * index], seen[ticket] = k, begun .. suffix(claimed), true
    done, claimed = index, claimed + 1
    rows[claimed], tickets[claimed] = text, ticket
  end
  lease(tonumber(expiry), given)
  if done < #list then fetch({ unpack(keys, done + 1) }) end
  c.count, c.taken, c.at = done, done, done + 1
end

local function begin(lane)
  lane.tickets, lane.at, lane.taken, lane.count, lane.last = {}, 1, 0, 0, false
  return lane
end

-- What was taken from a lane is gone from it.
local function taken(c)
  if c.taken == 0 then return end
  call('LTRIM', c.key, c.taken, -1)
  if call('EXISTS', c.key) == 0 then unlisted(c) end
  bump('p' .. c.lane, -c.count)
  bump('r' .. c.lane, c.count)
  if ready[c.text] then ready[c.text] = max(0, ready[c.text] - c.count) end
end

-- How many more of a group may begin; 0 has taken it from among those that may give something out.
local function roomOf(name, group, limit)
  local member, room = name .. '\\1' .. group, math.huge
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
  for _, group in ipairs(call('ZRANGEBYSCORE', opened, '-inf', now, 'LIMIT', 0, ${GROUPS})) do
    call('ZREM', opened, group)
    if call('EXISTS', T .. 'g:' .. name .. '\\1' .. group) == 1 then openGroup(name, group) end
  end
  local ring, from, order, looked = {}, 0, {}, {}
  while claimed < limit and stale < ${MAX_STALE} do
    if #ring == 0 then
      -- Those that are full are no longer among them.
      local groups = call('ZRANGE', T .. 't:' .. name, from, from + ${GROUPS - 1})
      if #groups == 0 then break end
      for _, group in ipairs(groups) do
        local room = roomOf(name, group, rule)
        if room > 0 then
          from = from + 1
          local g = { group = group, room = room, count = 0, lanes = {} }
          for _, lane in ipairs(call('ZRANGE', T .. 'g:' .. name .. '\\1' .. group, '0', '-1')) do
            g.lanes[#g.lanes + 1] = begin(spelled(lane))
          end
          ring[#ring + 1], looked[#looked + 1] = g, g
        end
      end
    end
    local next = {}
    for _, g in ipairs(ring) do
      local c = claimed < limit and g.count < g.room and headOf(g, wanted)
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
      local member = name .. '\\1' .. g.group
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
  if nextOpen then opens = min(opens or math.huge, tonumber(nextOpen)) end
end

-- What is not paused, of the wanted.
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
      local first = string.byte(name)
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
    if share > claimed then claimGroups(want, name, share, expiry, tokens, wanted) end
  end
  while at <= #lanes and claimed < limit and stale < ${MAX_STALE} do
    local group, priority = {}, nil
    while at <= #lanes do
      local lane = spelled(lanes[at])
      if priority and lane.priority ~= priority then break end
      priority = lane.priority
      if wanted(lane) then group[#group + 1] = begin(lane) end
      at = at + 1
    end
    if #group == 1 then
      local c, count = group[1], limit - claimed
      takeNew(c, count, expiry, tokens)
      while claimed < limit and head(c, count) do take(c, expiry, tokens) end
    else
      local heads = {}
      for _, c in ipairs(group) do
        if head(c, 16) then heads[#heads + 1] = c end
      end
      table.sort(heads, function(one, other) return one.due < other.due end)
      while claimed < limit and heads[1] do
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
    if claimed < limit then claimGroups(want, name, limit, expiry, tokens, wanted) end
  end
  lease(now + leaseMs, leases)
  if claimed >= limit or stale >= ${MAX_STALE} then more = 1 end
end

-- Whether something wanted is ready, with nothing taken.
local function look(want)
  local lanes = call('ZRANGE', LANES, '0', '-1')
  local wanted = wantedOf(want, lanes)
  for _, lane in ipairs(lanes) do
    local name = sub(lane, 1, 1) == 'g' and sub(lane, 2)
    if name and want.names[name] or not name and lane ~= '!' and wanted(spelled(lane)) then
      more = 1
      return
    end
  end
end

-- When something wanted is due next; if that lies behind many others, then when the last of those is.
local function findNextDue(want)
  local delayed = soon or call('ZRANGE', D, '0', '${MAX_LOOK - 1}', 'WITHSCORES')
  for index = 1, #delayed, 2 do
    nextDue = max(0, tonumber(delayed[index + 1]) - now)
    local r = redeem(delayed[index])
    if r and wants(want, spelled(laneOf(r))) then
      if opens then nextDue = min(nextDue, max(0, opens - now)) end
      return
    end
  end
  if #delayed < ${2 * MAX_LOOK} then nextDue = -1 end
  if opens then nextDue = nextDue < 0 and max(0, opens - now) or min(nextDue, max(0, opens - now)) end
end
`
