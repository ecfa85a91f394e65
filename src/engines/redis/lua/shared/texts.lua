-- Reads and writes the texts of runs by key: each is read once and written once in a call.

-- Lua hands over no more than about 8,000 values at once.
local function add(to, from)
  for index = 1, #from, 1000 do to(from, index, min(index + 999, #from)) end
end

local function bump(field, by) counts[field] = (counts[field] or 0) + by end

local function fetch(keys)
  add(function(list, from, to)
    for index, text in ipairs(call('MGET', unpack(list, from, to))) do
      local k = list[from + index - 1]
      -- A text that this call has written since is newer than the one in Redis.
      if cache[k] == nil then cache[k] = text end
    end
  end, keys)
end

local function get(k)
  if cache[k] == nil then fetch({ k }) end
  return cache[k]
end

-- With a time to live, in ms as text, only what has ended: a run that lives has none, and MSET takes away what its key had.
local function put(k, text, lasts)
  cache[k] = text
  local list = lasts and endings or writes
  local length = #list
  list[length + 1], list[length + 2] = k, text
  if lasts then list[length + 3] = lasts end
end

local function bury(k, reason)
  local rest = sub(k, #T + 3)
  call('RENAME', k, T .. 'malformed:' .. rest)
  call('PEXPIRE', T .. 'malformed:' .. rest, MALFORMED_MS)
  malformed[#malformed + 1] = rest
  malformed[#malformed + 1] = reason
end

-- MGET is silent about keys of another type. The write of a new run finds them, with no command more for the usual case.
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
end

local function setAside(k, reason)
  write()
  bury(k, reason)
  cache[k] = false
end
