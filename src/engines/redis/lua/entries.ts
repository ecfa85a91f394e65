// The server-side scripts' second part: how an entry is read and written; where things lie, layout.ts tells.
import { LEASE, LETTER, PLACE, RARE } from './layout.ts'

/** How long what could not be read is kept for whoever looks into it. */
const MALFORMED_MS = 30 * 86_400_000

export const ENTRIES = `
-- Lua hands over no more than about 8,000 values at once.
local function add(to, from)
  for index = 1, #from, 1000 do to(from, index, min(index + 999, #from)) end
end

local counts = {}
local function bump(field, by) counts[field] = (counts[field] or 0) + by end

-- What was read, and what is to be written, by key. MGET answers nothing, and no error, for a key of another
-- type.
local cache, births, writes, endings = {}, {}, {}, {}

-- The leases, by key, of those that run and have the texts that they were born with.
local leased = {}
local BEGUN = place4(1) .. USUAL .. NEVER .. NEVER .. NEVER .. USUAL -- once
-- The text as it would have been written when it began.
local function asBegun(k, text, lease)
  leased[k] = lease
  return 'r' .. sub(text, ${PLACE.run}, ${PLACE.head - 1}) .. sub(text, ${PLACE.created}, ${PLACE.length - 1}) .. sub(lease, ${LEASE.begun}, ${LEASE.token - 1})
    .. BEGUN .. sub(lease, ${LEASE.token}) .. sub(text, ${PLACE.head})
end

-- Of what was read as it was born, some may have begun since.
local function cacheBegun(news, texts)
  if #news == 0 or #news > 8 and call('EXISTS', LEASES) == 0 then return end
  add(function(list, from, to)
    for index, lease in ipairs(call('HMGET', LEASES, unpack(list, from, to))) do
      local k = list[from + index - 1]
      if lease and #lease >= ${LEASE.token} then cache[k] = asBegun(k, texts[k], lease) end
    end
  end, news)
end

local function fetch(keys)
  local news = {}
  add(function(list, from, to)
    for index, text in ipairs(call('MGET', unpack(list, from, to))) do
      local k = list[from + index - 1]
      -- What this script has written since is newer than what Redis has.
      if cache[k] == nil then
        cache[k] = text
        if text and byte(text) == ${LETTER.new} then news[#news + 1] = k end
      end
    end
  end, keys)
  cacheBegun(news, cache)
end

local function get(k)
  if cache[k] == nil then fetch({ k }) end
  return cache[k]
end

-- With a time to live, in ms as text, only what has ended: a run that lives has none, and MSET takes away what its key had.
local function put(k, text, lasts)
  local lease = leased[k]
  if lease then
    leased[k] = nil
    if byte(text) == ${LETTER.running} then call('HSET', LEASES, k, sub(lease, 1, ${LEASE.begun - 1})) end
  end
  cache[k] = text
  local list = lasts and endings or writes
  local length = #list
  list[length + 1], list[length + 2] = k, text
  if lasts then list[length + 3] = lasts end
end

local malformed = {}
local function bury(k, reason)
  local rest = sub(k, #T + 3)
  call('RENAME', k, T .. 'malformed:' .. rest)
  call('PEXPIRE', T .. 'malformed:' .. rest, ${MALFORMED_MS})
  malformed[#malformed + 1] = rest
  malformed[#malformed + 1] = reason
end

-- MGET is silent about keys of another type. What is born finds them, with no command more for the usual case.
local function bear(list, from, to)
  if call('MSETNX', unpack(list, from, to)) == 1 then return end
  for index = from, to, 2 do
    if call('EXISTS', list[index]) == 1 then bury(list[index], 'It is no text.') end
  end
  call('MSET', unpack(list, from, to))
end

-- Nothing stands there, or nothing did when it was read.
local function bornAs(k, text)
  cache[k] = text
  local length = #births
  births[length + 1], births[length + 2] = k, text
end

local function write()
  if #births > 0 then
    add(bear, births)
    births = {}
  end
  if #writes > 0 then
    add(function(list, from, to) call('MSET', unpack(list, from, to)) end, writes)
    writes = {}
  end
  if #endings == 0 then return end
  for index = 1, #endings, 3 do call('SET', endings[index], endings[index + 1], 'PX', endings[index + 2]) end
  endings = {}
end

local function rename(from, to)
  write()
  call('RENAME', from, to)
  cache[to], cache[from] = cache[from], false
  leased[to], leased[from] = leased[from], nil
end

local function setAside(k, reason)
  write()
  bury(k, reason)
  cache[k] = false
end

-- What a text says, or nil if it makes no sense.
local function parse(text, k, ticket, id)
  if #text < ${PLACE.head} then return end
  local status, run, created, length = unpackText('c1c16c13c4', text)
  local due, begun, finished, fresh, usable = created, NEVER, NEVER, NEVER, NEVER
  local attempt, priority, answer = USUAL, USUAL, USUAL
  local token, before, errors, accepted, remembered, watchers, side, next, attend = '', '', '', '', '', '', '', '', ''
  local at = ${PLACE.head}
  if status == 'n' then
    status = 'p'
  else
    local stop = string.find(text, ';', ${PLACE.token}, true)
    if not stop then return end
    due, begun, attempt, priority, finished, fresh, usable, answer =
      unpackText('c13c13c4c4c13c13c13c4', text, ${PLACE.head})
    token, at = sub(text, ${PLACE.token}, stop - 1), stop + 1
    if string.find(token, ',', 1, true) then
      token, before, errors, accepted, remembered, watchers, side, next, attend =
        match(token, '^([^,]*)${RARE.map(() => ',([^,]*)').join('')}$')
      if not attend then return end
    end
  end
  length = tonumber(length, 16)
  local kind = length and kindOf(sub(text, at, at + length - 1))
  if not kind or not tonumber(created) or not tonumber(answer) then return end
  return {
    run, status, created, due, begun, finished, fresh, usable, attempt, priority, answer,
    token, before, errors, accepted, remembered, watchers, side, next, attend,
    kind, text, at + length, k, ticket, id or sub(ticket, 1, 43) .. run,
  }
end

-- The text of what a run has become.
local function compose(r)
  local token, kind = r@token, r@kind
  if r@before ~= '' or r@errors ~= '' or r@accepted ~= '' or r@remembered ~= '' or r@watchers ~= '' or r@side ~= ''
    or r@next ~= '' or r@attend ~= '' then
    token = token .. ',' .. ${RARE.map((field) => `r@${field}`).join(" .. ',' .. ")}
  end
  return r@status .. r@run .. r@created .. kind.length .. r@due .. r@begun .. r@attempt .. r@priority .. r@finished .. r@fresh
    .. r@usable .. r@answer .. token .. ';' .. kind.text .. sub(r@text, r@at)
end

local function save(r)
  local text = compose(r)
  put(r@k, text)
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

local function laneOf(r) return laneAt(r@kind, r@priority) end

local function read(k, ticket, id)
  local text = get(k)
  if not text then return end
  local r = parse(text, k, ticket, id)
  if not r then setAside(k, 'Its text makes no sense.') end
  return r
end

local function runOf(text) return sub(text, ${PLACE.run}, ${PLACE.created - 1}) end

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
  if r and sub(r@run, 1, #ticket - 43) == sub(ticket, 44) then return r end
end

-- A run by the Redis key of its text.
local function stands(k)
  local id = sub(k, #E + 1)
  if string.find(k, A, 1, true) == 1 then return read(k, id, id) end
  return read(k, id .. sub(get(k) or '', ${PLACE.run}, ${PLACE.run + 1}))
end

local function aside(r, letter, ...)
  if not string.find(r@side, letter, 1, true) then r@side = r@side .. letter end
  call('HSET', X .. r@id, ...)
end
`
