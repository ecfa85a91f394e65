// The scripts of the Redis transport: each verb for a whole batch in one atomic step, by the server's clock.
import { createHash } from 'node:crypto'
import type { Script } from '../../drivers/redis-connection.ts'

// Scores are milliseconds with a fraction: members with equal ones would be sorted by their bytes, so each item of a batch
// gets half a microsecond more than the one before it (a double has 0.24 of one left at these numbers).
const PRELUDE = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local function score(ms, turn) return string.format('%.4f', ms + turn * 0.0005) end
local NOW = score(now, 0)

local function push(queue, bodies)
  for first = 1, #bodies, 500 do
    redis.call('RPUSH', queue, unpack(bodies, first, math.min(first + 499, #bodies)))
  end
end

-- 'deliveries:body' and 'id:body'
local function split(record)
  local colon = string.find(record, ':', 1, true)
  return string.sub(record, 1, colon - 1), string.sub(record, colon + 1)
end
`

// A call that is sent again is answered what it was answered at first, by its id (ARGV[1]), and changes nothing. Each one
// looks, for a server that hung may come upon the second sending first.
const ONCE = `
local once = KEYS[1] .. ':sent:' .. ARGV[1]
local before = redis.call('GET', once)
if before then return before end
local function answered(answers)
  redis.call('SET', once, answers, 'PX', ARGV[2])
  return answers
end
`

const STORE = `
local lines = {}
local function store(queue, delay, turn, body)
  if delay > 0 then
    local due = score(now + delay, turn)
    if redis.call('ZADD', queue .. ':delayed', 'NX', due, body) == 0 then
      redis.call('ZADD', queue .. ':delayed:twins', due, ARGV[1] .. '.' .. turn .. ':' .. body)
    end
    return
  end
  local line = lines[queue]
  if not line then
    line = {}
    lines[queue] = line
  end
  line[#line + 1] = body
end
local function flush()
  for queue, line in pairs(lines) do push(queue, line) end
end
`

// What is due gets in line. 500 at a time bound the script; the next look takes the rest.
const DUE = `
local function due(queue)
  local found = {}
  for _, key in ipairs({ queue .. ':delayed', queue .. ':delayed:twins' }) do
    local twins = string.sub(key, -6) == ':twins'
    local members = redis.call('ZRANGEBYSCORE', key, '-inf', NOW, 'WITHSCORES', 'LIMIT', 0, 500)
    local names = {}
    for at = 1, #members, 2 do
      local body = members[at]
      names[#names + 1] = body
      if twins then _, body = split(body) end
      found[#found + 1] = { body, tonumber(members[at + 1]), #found }
    end
    if #names > 0 then redis.call('ZREM', key, unpack(names)) end
  end
  if #found == 0 then return end
  table.sort(found, function(a, b) return a[2] < b[2] or (a[2] == b[2] and a[3] < b[3]) end)
  local bodies = {}
  for at, each in ipairs(found) do bodies[at] = each[1] end
  push(queue, bodies)
end
`

// A message that was moved to processing by a consumer without leases is a stranger there. It gets the visibility from the
// moment when it is first seen, and then counts as held by somebody who is gone. The list is compared with what we hold,
// at most once a second, and only while it is longer.
const STRANGERS = `
local function strangers(queue, visibility)
  local processing, held = queue .. ':processing', queue .. ':held'
  if redis.call('LLEN', processing) <= redis.call('HLEN', held) then
    redis.call('DEL', queue .. ':strangers')
    return
  end
  if not redis.call('SET', queue .. ':looked', '1', 'NX', 'PX', math.min(1000, visibility)) then return end
  local ours = {}
  for _, record in ipairs(redis.call('HVALS', held)) do
    local _, body = split(record)
    ours[body] = (ours[body] or 0) + 1
  end
  local before = {}
  local seen = redis.call('HGETALL', queue .. ':strangers')
  for at = 1, #seen, 2 do before[seen[at]] = tonumber(seen[at + 1]) end
  redis.call('DEL', queue .. ':strangers')
  local copies = {}
  for turn, body in ipairs(redis.call('LRANGE', processing, 0, 999)) do
    if (ours[body] or 0) > 0 then
      ours[body] = ours[body] - 1
    else
      local digest = redis.sha1hex(body)
      copies[digest] = (copies[digest] or 0) + 1
      local name = digest .. '.' .. copies[digest]
      local since = before[name] or now
      if now - since >= visibility then
        local token = name .. '.' .. NOW
        redis.call('HSET', held, token, '0:' .. body)
        redis.call('ZADD', queue .. ':leases', score(now - 1, turn), token)
      else
        redis.call('HSET', queue .. ':strangers', name, score(since, 0))
      end
    end
  end
end
`

// ARGV: id, how often it was sent before, limit, visibility. Answers when something is due next (or ''), and per message the index of its queue,
// its token, its deliveries and its bytes. Ends early at 8 MB, so that no answer blocks the server for long.
const RESERVE = `
local limit, visibility = tonumber(ARGV[3]), tonumber(ARGV[4])
local taken, size = 0, 0
local answer = { '' }
local function hand(index, token, deliveries, body)
  local at = #answer
  answer[at + 1], answer[at + 2], answer[at + 3], answer[at + 4] = index, token, deliveries, body
end

-- What a lost answer had handed out is handed out by this one.
for sending = 0, ARGV[2] - 1 do
  for index, queue in ipairs(KEYS) do
    for turn = 1, limit do
      local token = ARGV[1] .. '.' .. sending .. '.' .. turn
      local record = redis.call('HGET', queue .. ':held', token)
      if record then
        local deliveries, body = split(record)
        hand(index, token, tonumber(deliveries), body)
      end
    end
  end
end
if #answer > 1 then return answer end

local prefix = ARGV[1] .. '.' .. ARGV[2] .. '.'
local function lease(index, queue, bodies, deliveries)
  local scores, records = {}, {}
  for at, body in ipairs(bodies) do
    taken = taken + 1
    size = size + #body
    local token, count = prefix .. taken, deliveries and deliveries[at] or 0
    scores[#scores + 1] = score(now + visibility, taken)
    scores[#scores + 1] = token
    records[#records + 1] = token
    records[#records + 1] = count .. ':' .. body
    hand(index, token, count, body)
  end
  push(queue .. ':processing', bodies)
  redis.call('ZADD', queue .. ':leases', unpack(scores))
  redis.call('HSET', queue .. ':held', unpack(records))
end

local function some()
  return size < 8000000 and math.min(limit - taken, 100) or 0
end

-- What was held for too long comes first. A consumer of others may have acked it (LREM): then it is gone.
local function again(index, queue)
  while some() > 0 do
    local tokens = redis.call('ZRANGEBYSCORE', queue .. ':leases', '-inf', NOW, 'LIMIT', 0, some())
    if #tokens == 0 then return end
    local records = redis.call('HMGET', queue .. ':held', unpack(tokens))
    redis.call('ZREM', queue .. ':leases', unpack(tokens))
    redis.call('HDEL', queue .. ':held', unpack(tokens))
    local bodies, deliveries = {}, {}
    for _, record in ipairs(records) do
      if record then
        local count, body = split(record)
        if redis.call('LREM', queue .. ':processing', 1, body) > 0 then
          bodies[#bodies + 1] = body
          deliveries[#bodies] = count + 1
        end
      end
    end
    if #bodies > 0 then lease(index, queue, bodies, deliveries) end
  end
end

for index, queue in ipairs(KEYS) do
  if some() == 0 then break end
  due(queue)
  strangers(queue, visibility)
  again(index, queue)
  while some() > 0 do
    local bodies = redis.call('LPOP', queue, some())
    if not bodies then break end
    lease(index, queue, bodies)
  end
end

if taken == 0 then
  local first
  for _, queue in ipairs(KEYS) do
    for _, key in ipairs({ ':delayed', ':delayed:twins', ':leases' }) do
      local head = redis.call('ZRANGE', queue .. key, 0, 0, 'WITHSCORES')
      if head[2] then first = math.min(first or math.huge, tonumber(head[2])) end
    end
  end
  if first then answer[1] = score(first - now, 0) end
end
return answer
`

// Takes a message out of the hands of the consumer that holds this token, and answers its bytes; false: it doesn't hold it.
const TAKE = `
local function take(queue, token)
  local ends = redis.call('ZSCORE', queue .. ':leases', token)
  if not ends or tonumber(ends) <= now then return false end
  local _, body = split(redis.call('HGET', queue .. ':held', token))
  redis.call('ZREM', queue .. ':leases', token)
  redis.call('HDEL', queue .. ':held', token)
  redis.call('LREM', queue .. ':processing', 1, body)
  return body
end
`

/** ARGV: id, how long to remember (ms); per message: the index of its queue, its delay, its bytes. */
const PUBLISH = `
for at = 3, #ARGV, 3 do store(KEYS[tonumber(ARGV[at])], tonumber(ARGV[at + 1]), (at - 3) / 3, ARGV[at + 2]) end
flush()
return answered('')
`

/** ARGV: id, how long to remember; per delivery: the index of its queue, its token. */
const ACK = `
local answers = {}
for at = 3, #ARGV, 2 do
  answers[#answers + 1] = take(KEYS[tonumber(ARGV[at])], ARGV[at + 1]) and '1' or '0'
end
return answered(table.concat(answers))
`

/** ARGV: id, how long to remember; per delivery: its queue, its token, the new queue, the delay, '1' for new bytes, these. */
const RELEASE = `
local answers = {}
for at = 3, #ARGV, 6 do
  local body = take(KEYS[tonumber(ARGV[at])], ARGV[at + 1])
  answers[#answers + 1] = body and '1' or '0'
  if body then
    if ARGV[at + 4] == '1' then body = ARGV[at + 5] end
    store(KEYS[tonumber(ARGV[at + 2])], tonumber(ARGV[at + 3]), (at - 3) / 6, body)
  end
end
flush()
return answered(table.concat(answers))
`

/** ARGV: visibility, '1' to answer the bytes; per delivery: the index of its queue, its token. Answers '' for a lost one. */
const EXTEND = `
local answers = {}
for at = 3, #ARGV, 2 do
  local queue, token = KEYS[tonumber(ARGV[at])], ARGV[at + 1]
  local ends = redis.call('ZSCORE', queue .. ':leases', token)
  local answer = ''
  if ends and tonumber(ends) > now then
    redis.call('ZADD', queue .. ':leases', 'XX', score(now + ARGV[1], at), token)
    answer = '1'
    if ARGV[2] == '1' then answer = redis.call('HGET', queue .. ':held', token) end
  end
  answers[#answers + 1] = answer
end
return answers
`

/** Answers per queue what is ready, delayed and in consumers' hands. */
const DEPTH = `
local answer = {}
for _, queue in ipairs(KEYS) do
  local ready, delayed = redis.call('LLEN', queue), 0
  for _, key in ipairs({ queue .. ':delayed', queue .. ':delayed:twins' }) do
    local due = redis.call('ZCOUNT', key, '-inf', NOW)
    ready = ready + due
    delayed = delayed + redis.call('ZCARD', key) - due
  end
  local ended = redis.call('ZCOUNT', queue .. ':leases', '-inf', NOW)
  answer[#answer + 1] = ready + ended
  answer[#answer + 1] = delayed
  answer[#answer + 1] = math.max(redis.call('LLEN', queue .. ':processing'), redis.call('HLEN', queue .. ':held')) - ended
end
return answer
`

/** ARGV: limit. */
const PEEK = `
due(KEYS[1])
local bodies = {}
for _, token in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1] .. ':leases', '-inf', NOW, 'LIMIT', 0, ARGV[1])) do
  local _, body = split(redis.call('HGET', KEYS[1] .. ':held', token))
  bodies[#bodies + 1] = body
end
if #bodies < tonumber(ARGV[1]) then
  for _, body in ipairs(redis.call('LRANGE', KEYS[1], 0, ARGV[1] - #bodies - 1)) do bodies[#bodies + 1] = body end
end
return bodies
`

/** ARGV: how the tokens of a consumer begin. It is gone: what it held has been held for too long. */
const LEAVE = `
for _, queue in ipairs(KEYS) do
  for turn, token in ipairs(redis.call('ZRANGE', queue .. ':leases', 0, -1)) do
    if string.sub(token, 1, #ARGV[1]) == ARGV[1] then
      redis.call('ZADD', queue .. ':leases', score(now - 1, turn), token)
    end
  end
end
return ''
`

const SOURCES = {
  publish: [PRELUDE, ONCE, STORE, PUBLISH],
  reserve: [PRELUDE, DUE, STRANGERS, RESERVE],
  ack: [PRELUDE, ONCE, TAKE, ACK],
  release: [PRELUDE, ONCE, TAKE, STORE, RELEASE],
  extend: [PRELUDE, EXTEND],
  depth: [PRELUDE, DEPTH],
  peek: [PRELUDE, DUE, PEEK],
  leave: [PRELUDE, LEAVE],
}

export type ScriptName = keyof typeof SOURCES

export const SCRIPTS = Object.fromEntries(
  Object.entries(SOURCES).map(([name, parts]): [string, Script] => {
    const source = parts.join('')
    return [name, { source, sha: createHash('sha1').update(source).digest('hex') }]
  }),
) as Record<ScriptName, Script>
