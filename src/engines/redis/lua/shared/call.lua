-- The state of one call: begin() sets its clock and keys, reset() empties what it gathers, release() lets go of it.
--
-- The functions of all scripts are defined once, when the library is loaded, so what belongs to a call lies in these variables.

-- Redis has neither string nor math nor call while a library is loaded: the first call sets these.
local sub, match, min, max, floor, unpackText, byte, findText, format, call, tryCall
local function setUp()
  sub, match, byte, findText, format = string.sub, string.match, string.byte, string.find, string.format
  min, max, floor, unpackText = math.min, math.max, math.floor, struct.unpack
  call, tryCall = redis.call, redis.pcall
end

-- The shard's tag, its parts, and the keys that begin with it.
local T, prefix, shard
local E, A, X, L, D
local LANES, LEASES, COUNTS, WANTS, IDLE

-- The time in ms, as a number and in 13 digits.
local now, NOW
-- Whether PUBLISH tells how many heard it, and whether this call may have been done already.
local counted, resent

local function moment(ms) return format('%013d', ms) end
-- Redis prints a number that is an argument with 17 digits, which costs 0.4 µs each time.
local function whole(number) return format('%d', number) end

-- KEYS[1] is the shard's tag; ARGV[1] is '1' where PUBLISH tells how many heard it ('0' on a cluster), with a '+' behind it where the
-- same may have been done already, because its answer was lost.
local function begin(keys, argv)
  if not call then setUp() end
  if keys[1] ~= T then
    T = keys[1]
    prefix, shard = match(T, '^{(.*):(%d+)')
    E, A, X, L, D = T .. 'e:', T .. 'a:', T .. 'x:', T .. 'l:', T .. 'delayed'
    LANES, LEASES, COUNTS, WANTS, IDLE = T .. 'lanes', T .. 'leases', T .. 'counts', T .. 'wants', T .. 'idle:'
  end
  counted, resent = byte(argv[1]) == 49, #argv[1] > 1
  local clock = call('TIME')
  local time = clock[1] * 1000 + floor(clock[2] / 1000)
  -- To spell a moment takes 0.3 µs, and several calls come in a millisecond.
  if time ~= now then now, NOW = time, moment(time) end
end

-- Changes of the counters, by field.
local counts
-- Texts by key: as they were read, or as they are to be written. MGET answers nothing, and no error, for a key of another type.
local cache
-- Keys and texts in turn that are to be written: of new runs; of runs that live; and, with a time to live, of runs that have ended.
local births, writes, endings
-- Names and reasons in turn of what could not be read.
local malformed
-- The lanes that this call has to do with, by their texts; the tickets by lane that are to be appended, and these lanes in order.
local lanesSpelled, pushed, pushedLanes
-- How many runs of each lane became ready, or due sooner than anybody was told.
local ready
-- The first of the delayed runs, while none was added since they were read; the number of the last turn of a group; those who wait.
local soon, turn, waiting
-- News by address, and the addresses in order.
local hints, hearers
-- The address of the asking instance, the messages for it, and the want for which it waits itself.
local own, mine, ownWant, ownName, ownMember

-- A verb that changes something begins with this.
local function reset()
  counts, cache, births, writes, endings, malformed = {}, {}, {}, {}, {}, {}
  lanesSpelled, pushed, pushedLanes, ready, hints, hearers, mine = {}, {}, {}, {}, {}, {}, {}
  soon, turn, waiting, own, ownWant, ownName, ownMember = nil, nil, nil, nil, nil, nil, nil
end

-- Texts of a call are not kept until the next one.
local function release()
  counts, cache, births, writes, endings, malformed = nil, nil, nil, nil, nil, nil
  lanesSpelled, pushed, pushedLanes, ready, hints, hearers, mine, soon, waiting = nil, nil, nil, nil, nil, nil, nil, nil, nil
end

-- Runs a verb.
local function serve(verb, keys, argv)
  begin(keys, argv)
  local reply = verb(argv)
  release()
  return reply
end

-- The same for a script that is no function: one that begins with a write that is allowed in a full store is allowed there as a whole.
local function serveWhenFull(verb, keys, argv)
  begin(keys, argv)
  call('DEL', T .. 'none')
  return verb(argv)
end
