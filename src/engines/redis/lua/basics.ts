// The server-side scripts' first part: the clock, the keys, and what a server has read before; all that a task alone on its way needs.

/** A sweep looks through the leases this often, however late they end; so of a longer lease nothing need be noted when it begins. */
export const LOOK_MS = 5_000

export const BASICS = `
local sub, match, min, max = string.sub, string.match, math.min, math.max -- once
local unpackText, byte, findText = struct.unpack, string.byte, string.find -- once
local call, pcall, format = redis.call, redis.pcall, string.format -- once
local counted, resent = byte(ARGV[1]) == 49, #ARGV[1] > 1
local T, prefix, shard, E, A, X, L, D -- once
local LANES, LEASES, COUNTS, WANTS, IDLE -- once
if KEYS[1] ~= T then
  T = KEYS[1]
  prefix, shard = string.match(T, '^{(.*):(%d+)')
  E, A, X, L, D = T .. 'e:', T .. 'a:', T .. 'x:', T .. 'l:', T .. 'delayed'
  LANES, LEASES, COUNTS, WANTS, IDLE = T .. 'lanes', T .. 'leases', T .. 'counts', T .. 'wants', T .. 'idle:'
end
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function moment(ms) return format('%013d', ms) end
local lastNow, NOW -- once
-- To spell a moment takes 0.3 µs, and several calls come in a millisecond.
if lastNow ~= now then lastNow, NOW = now, moment(now) end
local NEVER = moment(0) -- once
-- A number as an argument costs 0.4 µs each time, because Redis prints it with 17 digits.
local function whole(number) return format('%d', number) end

local policies = {} -- once
-- maxAttempts, resultTtl, staleTtl, failureTtl, retention, every: in base 36, 0 as nothing; times in seconds, or in
-- ms after a point.
local function policyOf(packed)
  local policy = policies[packed]
  if not policy then
    policy = {}
    for point, part in string.gmatch(packed .. ',', '(%.?)([^,]*),') do
      policy[#policy + 1] = (tonumber(part, 36) or 0) * (point == '' and 1000 or 1)
    end
    if #policy < 5 then return end
    policy[6] = policy[6] or 0
    policy[1] = policy[1] / 1000
    -- How long a run is kept once it has completed.
    policy.lasts = whole(max(policy[2] + policy[3], policy[5], 1))
    policies[packed] = policy
  end
  return policy
end

local kinds = {} -- once
local howManyKinds = 0 -- once
local function kindOf(text)
  local kind = kinds[text]
  if kind then return kind end
  local packed, q, x, g, at = match(text, '^([^;:]*);?(%d*),?(%d*),?(%d*):()')
  local policy = packed and policyOf(packed)
  if not policy then return end
  q, x, g = tonumber(q) or 0, tonumber(x), tonumber(g)
  local groupAt = at + q + (x or 0)
  local queue, name = sub(text, at, at + q - 1), sub(text, groupAt + (g or 0))
  if #queue ~= q or name == '' then return end
  local lane = q .. ':' .. queue .. name
  kind = {
    text = text, length = format('%04x', #text), packed = packed, policy = policy, after = sub(text, #packed + 1),
    name = name, queue = queue, extra = x and sub(text, at + q, groupAt - 1), lane = lane, pending = 'p' .. lane, running = 'r' .. lane,
    completed = 'c' .. lane, list = lane,
  }
  if g then
    kind.group = sub(text, groupAt, groupAt + g - 1)
    kind.list = lane .. '\\1' .. kind.group
  end
  -- They are kept from call to call; a store sees few of them, or as many as it likes.
  howManyKinds = howManyKinds + 1
  if howManyKinds > 1000 then kinds, policies, howManyKinds = {}, {}, 1 end
  kinds[text] = kind
  return kind
end

local places = {} -- once
-- Four places, for attempts and priorities.
local function place4(number)
  local text = places[number]
  if not text then
    text = format('%04d', number)
    places[number] = text
  end
  return text
end

local USUAL = place4(0) -- once

-- What tells the tokens of one claim from each other: to spell a number takes longer than all else about one.
local suffixes = {} -- once
local function suffix(number)
  local text = suffixes[number]
  if not text then
    text = '.' .. number .. ';'
    suffixes[number] = text
  end
  return text
end

local forms = {} -- once
local howManyForms = 0 -- once
-- What drafts of one shape have in common.
local function formOf(text)
  local form = forms[text]
  if form then return form end
  local priority, delay, letters, most, attend, kind = match(text, '^%*([^,]*),([^,]*),(%a*),(%d*),(%w*);(.*)$')
  form = {
    kind = kindOf(kind), priority = tonumber(priority), delay = tonumber(delay), flags = {}, most = tonumber(most),
    attend = attend ~= '' and attend or nil,
  }
  for letter in string.gmatch(letters, '%a') do form.flags[letter] = true end
  howManyForms = howManyForms + 1
  if howManyForms > 1000 then forms, howManyForms = {}, 1 end
  forms[text] = form
  return form
end

local wantsRead = {} -- once
local howManyWants = 0 -- once
-- When a want was last written down.
local wantedAt = {} -- once
local function readWant(text)
  local want = wantsRead[text]
  if want then return want end
  local list = cjson.decode(text)
  want = { names = {}, leaseMs = list.l, limits = list.m or {} }
  for _, name in ipairs(list.n) do want.names[name] = true end
  if list.q then
    want.queues = {}
    for _, queue in ipairs(list.q) do want.queues[queue == 'default' and '' or queue] = true end
  end
  howManyWants = howManyWants + 1
  if howManyWants > 100 then wantsRead, wantedAt, howManyWants = {}, {}, 1 end
  wantsRead[text] = want
  return want
end

-- A lease that ends before the next sweep that looks is noted, so that this one comes sooner.
local function leaseEnds(expiry)
  if expiry >= now + ${LOOK_MS} then return end
  local next = call('GET', T .. 'firstLease')
  if next and expiry < tonumber(next) then call('SET', T .. 'firstLease', whole(expiry)) end
end

-- Hears of work from now on, or is handed some. For some milliseconds a want is known to be written down: long enough to spare a busy
-- worker the command, and short enough where the store was emptied, or another version of these scripts took it away.
local function register(name, text, member)
  local idle = IDLE .. name
  local since = now - (wantedAt[idle] or 0)
  if since < 0 or since > 10 then
    call('HSET', WANTS, name, text)
    wantedAt[idle] = now
  end
  call('SADD', idle, member)
end
`
