// The server-side scripts' fourth part: how a run ends, what follows it, who is told, and what every script
// ends with.

import { MAX_ERRORS } from '../../../contract/engine.ts'
import { abandonedError, supersededError } from '../../../contract/store-errors.ts'
import { INLINE } from './layout.ts'

/** As the errors are spelled, with @A for the attempt, @T for the time and @B for an id. */
const template = (error: string): string => error.replaceAll('-111111', '@A').replaceAll('-222222', '@T')
const SUPERSEDED = template(supersededError(-111_111, -222_222, '@B'))
const ABANDONED = template(abandonedError(-111_111, -222_222))

/** Bytes; whoever is told more at once keeps the server from all others meanwhile. */
const MAX_HINT = 65_536

export const ENDS = `
-- A follow-up travels as the JSON text of a list of texts; cjson reads those to the letter, and nothing is
-- ever encoded here, where it would turn [] into {} and round large numbers. The list: s, f or b for success,
-- failure, both, then = for the same parent; id, kind, priority, delay, due, params, and its own follow-ups.
local function readFollow(text)
  local list = cjson.decode(text)
  return { text = text, list = list, id = list[2] }
end

local function admitFollow(follow, parent)
  local id, list = follow.id, follow.list
  local k = E .. sub(id, 1, 43)
  local text = get(k)
  if text and runOf(text) == sub(id, 44) or get(A .. id) then return end
  -- Its key belongs to it alone, so only what has ended can stand there.
  if text then rename(k, A .. sub(id, 1, 43) .. runOf(text)) end
  local thens = {}
  for index = 8, #list do thens[#thens + 1] = readFollow(list[index]) end
  local due = max(now, tonumber(list[6]) or now + tonumber(list[5]))
  create(kindOf(list[3]), id, list[7], tonumber(list[4]), due, nil, nil, parent, thens)
end

-- Admits what follows an end of this kind.
local function fire(follow, r, parent)
  local on = sub(follow.list[1], 1, 1)
  if on ~= 'b' and (on == 's') ~= (parent.status == 'c') then return end
  if #follow.list[1] == 1 then return admitFollow(follow, parent) end
  local told = call('HMGET', X .. r@id, 'P', 'N', 'V')
  admitFollow(follow, told[1] and {
    id = sub(told[1], 1, 59), status = sub(told[1], 60), name = told[2], value = told[3] or nil,
  })
end

local function addError(r, error)
  local count = tonumber(r@errors) or 0
  r@errors = count + 1
  aside(r, 'e', 'e' .. count % ${MAX_ERRORS}, error)
end

-- What those who follow are told of an ended run.
local function parentOf(r, value)
  local parent = { id = r@id, name = r@kind.name, status = r@status, value = value }
  if r@status ~= 'c' and r@errors ~= '' then
    parent.value = call('HGET', X .. r@id, 'e' .. (r@errors - 1) % ${MAX_ERRORS}) or nil
  end
  return parent
end

local hints, hearers = {}, {}
local function tell(address, kind, id, text)
  local told = hints[address]
  if not told then
    told = { e = {}, c = {}, texts = {} }
    hints[address] = told
    hearers[#hearers + 1] = address
  end
  if text and #text < 10000 then
    local texts, last = told.texts, #told.texts
    texts[last + 1], texts[last + 2], texts[last + 3] = id, place4(#text), text
  else
    told[kind][#told[kind] + 1] = id
  end
end

local function follow(r, value)
  local gone, parent = {}, parentOf(r, value)
  for _, field in ipairs(call('HKEYS', X .. r@id)) do
    if sub(field, 1, 1) == '+' then
      gone[#gone + 1] = field
      fire(readFollow(call('HGET', X .. r@id, field)), r, parent)
    end
  end
  add(function(list, from, to) call('HDEL', X .. r@id, unpack(list, from, to)) end, gone)
end

-- Its text, in place of what it had.
local function setParams(r, params)
  if #params > ${INLINE} then
    aside(r, 'p', 'p', params)
    params = ''
  elseif string.find(r@side, 'p', 1, true) then
    call('HDEL', X .. r@id, 'p')
    r@side = string.gsub(r@side, 'p', '')
  end
  r@text, r@at = params, 1
end

-- What stood there is gone: the one behind it comes forward.
local function promote(key, run, pointer)
  local k = E .. key
  if not get(A .. key .. run) then return end
  rename(A .. key .. run, k)
  local r = read(k, key .. sub(run, 1, 2), key .. run)
  if not r then return end
  r@accepted = pointer
  save(r)
  enqueue(laneOf(r), r@ticket, tonumber(r@due))
end

-- The end of a run: its state, its time to live, those who watch, and what follows it.
local function conclude(r, status, value)
  local policy, under = r@kind.policy, #r@ticket == 45
  local expires, window = now + policy[5], policy[6] > 0 and tonumber(r@begun) + policy[6] or 0
  local key, behind = sub(r@id, 1, 43), under and r@next or ''
  r@next = ''
  if r@attend ~= '' then
    call('ZREM', T .. 'attended', r@id)
    r@attend = ''
  end
  local result = ''
  r@status, r@finished = status, NOW
  if status == 'c' then
    r@fresh, r@usable = NOW, NOW
    if under then
      local fresh = max(now + policy[2], window)
      r@fresh, r@usable = moment(fresh), moment(fresh + policy[3])
      expires = max(expires, fresh + policy[3])
    end
    r@accepted = ''
    if #value > ${INLINE} then aside(r, 'r', 'r', value) else result, r@answer = value, place4(#value) end
    bump('tcompleted', 1)
  else
    if status == 'f' and max(now + policy[4], window) > now then
      r@remembered = max(now + policy[4], window)
      expires = max(expires, r@remembered)
    end
    -- The way to the accepted result must not end before the result does.
    if r@accepted ~= '' and under then
      local accepted = read(A .. sub(r@id, 1, 43) .. r@accepted, sub(r@id, 1, 43) .. r@accepted)
      expires = max(expires, accepted and tonumber(accepted@usable) or 0)
    end
    bump(status == 'f' and 'tfailed' or 'tcancelled', 1)
  end
  local watchers = r@watchers
  r@watchers = ''
  if string.find(r@side, '+', 1, true) then
    follow(r, value)
    r@side = string.gsub(r@side, '%+', '')
  end
  local lasts = whole(max(expires, now + 1) - now)
  local text = compose(r) .. result
  put(r@k, text, lasts)
  for address in string.gmatch(watchers, '%S+') do tell(address, 'e', r@id, r@side == '' and text or nil) end
  if r@side ~= '' then call('PEXPIRE', X .. r@id, lasts) end
  if behind ~= '' then
    local pointer = status == 'c' and tonumber(r@usable) > now and r@run or r@accepted
    rename(r@k, A .. r@id)
    promote(key, behind, pointer)
  elseif not under then
    -- It may have waited behind what stands there.
    local text = get(E .. key)
    local head = text and string.find(text, r@run, 1, true) and stands(E .. key)
    if head and head@next == r@run then
      head@next = ''
      save(head)
    end
  end
end

-- The 64 digits of base64url as hexadecimal ones.
local DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_' -- once
local function hexOf(text)
  local digits, bits, held = {}, 0, 0
  for index = 1, #text do
    held, bits = held * 64 + string.find(DIGITS, sub(text, index, index), 1, true) - 1, bits + 6
    while bits >= 4 do
      bits = bits - 4
      local digit = math.floor(held / 2 ^ bits)
      held = held - digit * 2 ^ bits
      digits[#digits + 1] = format('%x', digit)
    end
  end
  return table.concat(digits)
end

local SUPERSEDED = [[${SUPERSEDED}]] -- once
local ABANDONED = [[${ABANDONED}]] -- once
local function errorText(template, r)
  return (string.gsub(string.gsub(template, '@A', tonumber(r@attempt)), '@T', whole(now)))
end

-- Ends what is pending or running, for all who wait for it.
local function cancelRun(r, reason)
  if r@status == 'r' then
    call('HDEL', LEASES, r@k)
    freed(r@kind, 1)
    -- A token begins with the address of the instance that holds it.
    tell(sub(r@token, 1, 8), 'c', r@id)
    -- Only a token that settled something is answered again; this one was taken away.
    r@token = ''
  else
    if call('ZREM', D, r@ticket) == 0 then drop(laneOf(r), r@ticket) end
    bump(r@kind.pending, -1)
  end
  if reason then addError(r, reason) end
  conclude(r, 'x')
end

-- What an instance would tell itself goes with the answer to it. It may be one who waits, too: for what, and as whom.
local own, ownWant, ownName, ownMember
local mine = {}

local function publish(channel, message)
  if channel == own then
    mine[#mine + 1] = message
    return true
  end
  -- Hints are hints: a user who may not publish loses them and nothing else.
  local heard = pcall('PUBLISH', prefix .. ':' .. channel, message)
  return not counted or heard ~= 0
end

local function wants(want, lane)
  if not want.names[lane.name] then return false end
  return not want.queues or want.queues[lane.queue] == true
end

-- Those who wait, by want: how each is registered begins with its address, and is part of the token of what it is handed.
local waiting
local function eachWaiting(lane, handing, try)
  waiting = waiting or call('HGETALL', WANTS)
  for index = 1, #waiting, 2 do
    local want = readWant(waiting[index + 1])
    if wants(want, lane) and (want.leaseMs or not handing) then
      while true do
        local member = call('SPOP', IDLE .. waiting[index])
        if not member then
          call('HDEL', WANTS, waiting[index])
          wantedAt[IDLE .. waiting[index]] = nil
          break
        end
        -- Whoever does not hear is gone, and the next one is tried.
        if try(want, sub(member, 1, 8), member) then return end
      end
    end
  end
end

local function give(r, want, address, member)
  local token, expiry = member .. '.h', now + want.leaseMs
  local status, attempt, begun, last, before = r@status, r@attempt, r@begun, r@token, r@before
  if last ~= '' then r@before = last end
  r@status, r@attempt, r@begun, r@token = 'r', place4(attempt + 1), NOW, token
  local text = compose(r)
  if not publish(address, 'h' .. shard .. ' ' .. token .. ' ' .. r@id .. text) then
    -- Whoever is gone has begun nothing: for the next one it is as it was.
    r@status, r@attempt, r@begun, r@token, r@before = status, attempt, begun, last, before
    return false
  end
  if births[#births - 1] == r@k then births[#births] = text else put(r@k, text) end
  lease(expiry, { r@k, whole(expiry) })
  bump(r@kind.pending, -1)
  bump(r@kind.running, 1)
  pushed, pushedLanes = {}, {}
  return true
end

-- A single run that became ready goes straight to one who waits for it, if nothing is ahead of it: claimed here, and sent instead
-- of the hint. It is one round trip of three between a dispatch and its result. Only where PUBLISH tells whether it was heard.
local function handOver()
  local name = pushedLanes[1]
  if not name or #pushedLanes > 1 or #pushed[name] > 1 or not (counted or ownWant) then return end
  if not ownWant then
    waiting = waiting or call('HGETALL', WANTS)
    if #waiting == 0 then return end
  end
  local ticket, lane = pushed[name][1], spelled(name)
  if lane.group then return end
  local r = redeem(ticket)
  if not r or r@side ~= '' or r@attempt + 1 >= r@kind.policy[1] then return end
  if call('EXISTS', lane.key, T .. 'paused') > 0 then return end
  -- The one who asks first: it needs no message.
  if ownWant and call('SREM', IDLE .. ownName, ownMember) == 1 and give(r, readWant(ownWant), own, ownMember) then return end
  if not counted then return end
  eachWaiting(lane, true, function(want, address, member) return give(r, want, address, member) end)
end

-- Tells as many of those who wait as runs became ready, not all: one run wakes one.
local function wake()
  for lane, count in pairs(ready) do
    if count > 0 then
      eachWaiting(spelled(lane), false, function(_, address, member)
        if publish(address, 'w' .. shard .. ' ' .. member) then count = count - 1 end
        return count == 0
      end)
    end
  end
end

local STEPS = { [1] = '1', [-1] = '-1' } -- once
-- Every script that changes something ends with this.
local function finish()
  handOver()
  write()
  flush()
  wake()
  for field, by in pairs(counts) do
    if by ~= 0 then call('HINCRBY', COUNTS, field, STEPS[by] or by) end
  end
  for _, address in ipairs(hearers) do
    local told = hints[address]
    -- An end brings its text along where it can, which saves who waits a round trip.
    local from, size = 1, 0
    for last = 3, #told.texts, 3 do
      size = size + #told.texts[last]
      if size > ${MAX_HINT} or last == #told.texts then
        publish(address, 'E' .. table.concat(told.texts, '', from, last))
        from, size = last + 1, 0
      end
    end
    for _, kind in ipairs({ 'e', 'c' }) do
      add(function(list, from, to) publish(address, kind .. table.concat(list, '', from, to)) end, told[kind])
    end
  end
end

-- A run as it is answered: its text, the key, and from beside it what the text says is there.
local function rowOf(r, text)
  if r@side == '' or r@side == '+' then return { text or r@text, r@id } end
  local from = call('HMGET', X .. r@id, 'p', 'r', 'P', 'N', 'V', 'g')
  if r@errors ~= '' then
    local fields, count = {}, tonumber(r@errors)
    for index = max(0, count - ${MAX_ERRORS}), count - 1 do fields[#fields + 1] = 'e' .. index % ${MAX_ERRORS} end
    from[7] = call('HMGET', X .. r@id, unpack(fields))
  end
  return { text or r@text, r@id, from }
end
`
