-- Takes the text of a run apart, puts it together, and finds runs by id, ticket or key.

-- Takes a text apart; answers nil if it makes no sense.
local function parse(text, k, ticket, id)
  if #text < HEAD_AT then return end
  local status, run, created, length = unpackText('c1c16c13c4', text)
  local due, begun, finished, fresh, usable = created, NEVER, NEVER, NEVER, NEVER
  local attempt, priority, answer = USUAL, USUAL, USUAL
  local token, before, errors, accepted, remembered, watchers, side, next, attend = '', '', '', '', '', '', '', '', ''
  local at = HEAD_AT
  if status == 'n' then
    status = 'p'
  else
    local stop = findText(text, ';', TOKEN_AT, true)
    if not stop then return end
    due, begun, attempt, priority, finished, fresh, usable, answer =
      unpackText('c13c13c4c4c13c13c13c4', text, HEAD_AT)
    token, at = sub(text, TOKEN_AT, stop - 1), stop + 1
    if findText(token, ',', 1, true) then
      token, before, errors, accepted, remembered, watchers, side, next, attend =
        match(token, '^([^,]*),([^,]*),([^,]*),([^,]*),([^,]*),([^,]*),([^,]*),([^,]*),([^,]*)$')
      if not attend then return end
    end
  end
  length = tonumber(length, 16)
  local kind = length and kindOf(sub(text, at, at + length - 1))
  if not kind or not tonumber(created) or not tonumber(answer) then return end
  return {
    -- Of the id: the run's own part, the whole, the ticket; and the Redis key of the text.
    run = run, id = id or sub(ticket, 1, 43) .. run, ticket = ticket, k = k,
    status = status, created = created, due = due, begun = begun, finished = finished, attempt = attempt, priority = priority,
    -- Until when the result answers, and until when as a stale one; and how long its text is.
    fresh = fresh, usable = usable, answer = answer,
    -- Of the present attempt, or of the last one if that was settled; and the token that settled the attempt before.
    token = token, before = before,
    -- How many errors there were; the run part of the accepted result's id, while that lies aside; until when a failure is remembered.
    errors = errors, accepted = accepted, remembered = remembered,
    -- Addresses of instances; which fields lie in x:, a letter each: p r P g e +.
    watchers = watchers, side = side,
    -- The run part of the id of what waits behind it, aside and in no lane; until when somebody has asked for it, r or p (also while
    -- it runs, or not), for how long.
    next = next, attend = attend,
    -- The common part of runs of its sort; the text as it was read, and where its params begin.
    kind = kind, text = text, at = at + length,
  }
end

-- The text of what a run has become.
local function compose(r)
  local token, kind = r.token, r.kind
  if r.before ~= '' or r.errors ~= '' or r.accepted ~= '' or r.remembered ~= '' or r.watchers ~= '' or r.side ~= ''
    or r.next ~= '' or r.attend ~= '' then
    token = token .. ',' .. r.before .. ',' .. r.errors .. ',' .. r.accepted .. ',' .. r.remembered .. ',' .. r.watchers .. ',' .. r.side
      .. ',' .. r.next .. ',' .. r.attend
  end
  return r.status .. r.run .. r.created .. kind.length .. r.due .. r.begun .. r.attempt .. r.priority .. r.finished .. r.fresh
    .. r.usable .. r.answer .. token .. ';' .. kind.text .. sub(r.text, r.at)
end

local function save(r)
  local text = compose(r)
  put(r.k, text)
  return text
end

-- By priority, as a number or in four places: turning numbers into text is dear, and runs of a batch are much alike.
local function laneAt(kind, priority)
  local lane = kind[priority]
  if not lane then
    lane = tonumber(priority) .. ':' .. kind.list
    kind[priority] = lane
  end
  return lane
end

local function laneOf(r) return laneAt(r.kind, r.priority) end

local function read(k, ticket, id)
  local text = get(k)
  if not text then return end
  local r = parse(text, k, ticket, id)
  if not r then setAside(k, 'Its text makes no sense.') end
  return r
end

local function runOf(text) return sub(text, RUN_AT, CREATED_AT - 1) end

-- A run by its id.
local function find(id)
  local key, run = sub(id, 1, 43), sub(id, 44)
  local k = E .. key
  local text = get(k)
  if text and runOf(text) == run then return read(k, sub(id, 1, 45), id) end
  return read(A .. id, id, id)
end

local function keyOf(ticket)
  if #ticket == 45 then return E .. sub(ticket, 1, 43) end
  return A .. ticket
end

-- A run by its ticket, if that is not stale.
local function redeem(ticket)
  local r = read(keyOf(ticket), ticket)
  if r and sub(r.run, 1, #ticket - 43) == sub(ticket, 44) then return r end
end

-- A run by the Redis key of its text.
local function stands(k)
  local id = sub(k, #E + 1)
  if findText(k, A, 1, true) == 1 then return read(k, id, id) end
  return read(k, id .. sub(get(k) or '', RUN_AT, RUN_AT + 1))
end

local function aside(r, letter, ...)
  if not findText(r.side, letter, 1, true) then r.side = r.side .. letter end
  call('HSET', X .. r.id, ...)
end

-- A run as it is answered: its text, the key, and from beside it what the text says is there.
local function rowOf(r, text)
  if r.side == '' or r.side == '+' then return { text or r.text, r.id } end
  local from = call('HMGET', X .. r.id, 'p', 'r', 'P', 'N', 'V', 'g')
  if r.errors ~= '' then
    local fields, count = {}, tonumber(r.errors)
    for index = max(0, count - MAX_ERRORS), count - 1 do fields[#fields + 1] = 'e' .. index % MAX_ERRORS end
    from[7] = call('HMGET', X .. r.id, unpack(fields))
  end
  return { text or r.text, r.id, from }
end
