-- The head of a lane: the next ticket that holds good, and how its run is taken.

-- One call passes over this many stale tickets at most, at 1 µs each. A worker that is stopped by it is told to ask again.
local MAX_STALE = 5000

-- A claim has taken these: of each run its text, or that and what lies beside; their
-- tickets; keys and ends of leases in turn. more: 1 where something wanted may be ready still. nextDue: in how many ms something wanted
-- is due, or -1. opens: when a rate lets more begin, if that holds something wanted back. stale: how many stale tickets it passed over.
local claims
local function noClaims()
  claims = { count = 0, rows = {}, tickets = {}, leases = {}, more = 0, nextDue = -1, opens = nil, stale = 0 }
end

-- Most runs are of the kind of the one before: seen without cutting anything out.
local lastKind

local function kindAt(text, at)
  if lastKind and findText(text, lastKind.length, LENGTH_AT, true) == LENGTH_AT
    and findText(text, lastKind.text, at, true) == at then return lastKind end
  lastKind = kindOf(sub(text, at, at - 1 + (tonumber(sub(text, LENGTH_AT, HEAD_AT - 1), 16) or 0)))
  return lastKind
end

-- A run whose own part begins so is the one that a ticket is for.
local function isFor(ticket, first, second)
  local one, two = byte(ticket, 44, 45)
  return one == first and two == second
end

-- The next ticket of a lane that holds good, in c.k, c.due, and c.row or (of a new run) c.new; the stale ones
-- before it are passed over.
local function head(c, count)
  while claims.stale < MAX_STALE do
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
        if letter == LETTER_NEW and c.priority == 0 and #ticket == 45 and isFor(ticket, first, second) then
          local kind, created = kindAt(text, HEAD_AT), sub(text, CREATED_AT, LENGTH_AT - 1)
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
        elseif r.status == 'p' and laneOf(r) == c.text then
          c.due = tonumber(r.due)
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
      c.at, c.taken, claims.stale = c.at + 1, c.taken + 1, claims.stale + 1
    end
  end
  return false
end

local function take(c, expiry, tokens)
  local r, ticket, text, beside = c.row, c.tickets[c.at], c.new, false
  if r then
    -- The token before stays known, so that a repeated settle of that attempt is answered as it was.
    if r.token ~= '' then r.before = r.token end
    r.status, r.attempt, r.begun, r.token = 'r', place4(r.attempt + 1), NOW, tokens .. '.' .. claims.count
    text = save(r)
    beside = rowOf(r, text)[3] or false
  else
    text = 'r' .. sub(text, RUN_AT, HEAD_AT - 1) .. c.created .. NOW .. BEGUN .. tokens .. suffix(claims.count) .. sub(text, HEAD_AT)
    put(c.k, text)
  end
  claims.rows[claims.count + 1] = beside and { text, beside } or text
  claims.tickets[claims.count + 1] = ticket
  local at = #claims.leases
  claims.leases[at + 1], claims.leases[at + 2] = c.k, expiry
  claims.count, c.count, c.at, c.taken = claims.count + 1, c.count + 1, c.at + 1, c.taken + 1
end

local function fromStart(lane)
  lane.tickets, lane.at, lane.taken, lane.count, lane.last = {}, 1, 0, 0, false
  return lane
end

-- Removes the tickets that were taken from a lane.
local function taken(c)
  if c.taken == 0 then return end
  call('LTRIM', c.key, c.taken, -1)
  if call('EXISTS', c.key) == 0 then unlisted(c) end
  bump('p' .. c.lane, -c.count)
  bump('r' .. c.lane, c.count)
  if ready[c.text] then ready[c.text] = max(0, ready[c.text] - c.count) end
end
