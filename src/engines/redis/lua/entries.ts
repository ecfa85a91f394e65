// The server-side scripts' first part: the layout of the store, and how an entry is read and written.
//
// Keys of a shard, all behind its hash tag `{prefix:n}`, so that one script may touch them all:
//
//   e:<key>          the run under a key, as text (below)
//   a:<key><run>     a run that was moved aside (by RENAME, so its time to live goes with it)
//   x:<key><run>     what few runs have or is large, a hash: p params and r result above INLINE bytes, P N V the parent, g
//                    progress, e0 to e9 the newest errors in turn, + and an id: what follows
//   l:<lane>         the tickets of what is ready in one lane, a list in order of due time
//   lanes            the lanes that hold tickets, scored by the negated priority
//   t:<name>         of a name whose runs have groups: those that may give something out, scored by their last turn;
//                    such a name stands among the lanes as g<name>
//   o:<name>         those that a rate holds back, scored by when it opens
//   g:<name>\1<group> the lanes of a group that hold tickets, scored as `lanes` is; their names end in \1<group>
//   b:<name>\1<group> when the last attempts of a group began, as many as its rate allows; gr: how many of each run
//   turn             counts the turns of groups
//   attended         the ids of what is cancelled when nobody asks for it, scored by when
//   paused           q<queue> and n<name>; while there is one, `!` is among the lanes
//   delayed          the tickets of what is due later, scored by due time
//   leases           the ends of the leases of what runs, by the Redis key of its text; a hash, because a sorted set costs six times
//                    as much
//   firstLease       none of them ends before this; leaseScan: how far a sweep has come in looking for the ended ones
//   counts           p<lane> pending, r<lane> running, t<total>
//   wants, idle:<w>  what idle instances wait for, and who they are
//   compact          how far the clearing of stale tickets has come, per lane
//   malformed:<…>    what could not be read
//
// <key> is the key's 32 bytes in base64url (43 characters), <run> the other 12 bytes of the id (16). A
// *ticket* is <key> and the first two characters of <run> for a run under its key, and <key><run> for one
// aside. Tickets in a list are checked when they are taken, so a run that is cancelled or changes lanes may
// leave a stale one behind: deleting from the middle of a list of a million takes 10 ms. The two characters
// keep a successor under the same key from being taken by its predecessor's ticket, and cost 2 bytes where
// the whole run part would cost 16.
//
// A run is one text rather than a hash, because a batch is then read by one MGET and written by one MSET; and
// what scripts look at stands at fixed places, because one struct.unpack() takes 0.5 µs where a pattern takes
// 2. From claim to settle a run then costs Redis 0.6 times what it does as a hash; a queued task takes 266 bytes,
// everything counted. The text:
//
//   <status 1><run 16><created 13><length of kind 4, in hex>[<head>]<kind><params><result>
//   head: <due 13><begun 13><attempt 4><priority 4><finished 13><fresh 13><usable 13><length of result 4><token>[,<rare fields>];
//   kind: <policy>[;<length of queue>,<length of extra>[,<length of group>]]:<queue><extra><group><name>
//
// Status is one of n new (pending, with everything else as usual, and no head), p pending, r running, c
// completed, f failed, x cancelled. Lengths are in bytes. The queue 'default' is spelled as none, and no
// length of extra means that there is none. Each byte counts: the text of a usual task is to fit into 92,
// because the next larger piece of memory is 16 bytes larger. And what a step of a run's life changes stands together, so that the
// new text is made of few pieces of the old one: Lua pays for each.

/** Where things stand in the text, counted from 1 as Lua does. */
export const PLACE = {
  run: 2,
  created: 18,
  length: 31,
  head: 35,
  begun: 48,
  attempt: 61,
  priority: 65,
  finished: 69,
  fresh: 82,
  usable: 95,
  answer: 108,
  token: 112,
}

/**
 * Longer params and results lie beside the text, which is written anew with each step in the life of a run.
 */
export const INLINE = 1_024

/**
 * What a script holds of a run, in this order; `r@due` in the sources stands for its place (see `numbered`).
 */
const FIELDS = [
  'run',
  'status',
  'created',
  'due',
  'begun',
  'finished',
  'fresh',
  'usable', // until when the result answers, as a stale one at last
  'attempt',
  'priority',
  'answer', // the length of the result
  'token', // of the present attempt, or of the last one if that was settled
  'before', // the token that settled the attempt before
  'errors', // how many there were
  'accepted', // the run part of the accepted result's id, while that lies aside
  'remembered', // until when a failure is
  'watchers', // addresses of instances
  'side', // which fields lie in x:, a letter each: p r P g e +
  'next', // the run part of the id of what waits behind it, aside and in no lane
  'attend', // until when somebody has asked for it, r or p (also while it runs, or not), for how long
  'kind',
  'text', // as it was read
  'at', // where its params begin
  'k', // the Redis key
  'ticket',
  'id',
] as const
const RARE = FIELDS.slice(12, 20)

/** Lists are made by one instruction and read by place, which halves what a table of names costs. */
export function numbered(source: string): string {
  return source.replace(/@([a-z]+)/g, (_all, field: string) => {
    const place = FIELDS.indexOf(field as (typeof FIELDS)[number])
    if (place < 0) throw new Error(`A run has no field '${field}'.`)
    return `[${place + 1}]`
  })
}

/** How long what could not be read is kept for whoever looks into it. */
const MALFORMED_MS = 30 * 86_400_000

export const ENTRIES = `
local sub, match, min, max = string.sub, string.match, math.min, math.max -- once
local unpackText, byte, findText = struct.unpack, string.byte, string.find -- once
local call = redis.call
local counted = ARGV[1] == '1'
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
local function moment(ms) return string.format('%013d', ms) end
local NOW = moment(now)
local NEVER = moment(0) -- once
-- A number as an argument costs 0.4 µs each time, because Redis prints it with 17 digits.
local function whole(number) return string.format('%.0f', number) end

-- Lua hands over no more than about 8,000 values at once.
local function add(to, from)
  for index = 1, #from, 1000 do to(from, index, min(index + 999, #from)) end
end

local counts = {}
local function bump(field, by) counts[field] = (counts[field] or 0) + by end

-- What was read, and what is to be written, by key. MGET answers nothing, and no error, for a key of another
-- type.
local cache, births, writes, endings = {}, {}, {}, {}
local function fetch(keys)
  add(function(list, from, to)
    for index, text in ipairs(call('MGET', unpack(list, from, to))) do
      local k = list[from + index - 1]
      -- What this script has written since is newer than what Redis has.
      if cache[k] == nil then cache[k] = text end
    end
  end, keys)
end

local function get(k)
  local text = cache[k]
  if text == nil then
    text = call('MGET', k)[1]
    cache[k] = text
  end
  return text
end

-- With a time to live, in ms as text, only what has ended: a run that lives has none, and MSET takes away what its key had.
local function put(k, text, lasts)
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
end

local function setAside(k, reason)
  write()
  bury(k, reason)
  cache[k] = false
end

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
    text = text, length = string.format('%04x', #text), packed = packed, policy = policy, after = sub(text, #packed + 1),
    name = name, queue = queue, extra = x and sub(text, at + q, groupAt - 1), lane = lane, pending = 'p' .. lane, running = 'r' .. lane,
    list = lane,
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
    text = string.format('%04d', number)
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
