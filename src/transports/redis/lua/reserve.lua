-- The verb reserve: hands messages to a consumer, each under a token that holds it for a while.
--
-- KEYS …   the queues, in the order in which they are emptied                                 {deferq:q:orders}
-- ARGV 1   the id of the call                                                                 Aq3kPz1x.7
--      2   how often this call was sent before                                                0
--      3   how many messages at most                                                          10
--      4   for how long they are held, in ms                                                  30000
--
-- Answers when something is due next, in ms (or ''), and per message the index of its queue, its token, its deliveries and its
-- bytes. Ends early at 8 MB, so that no answer blocks the server for long.
--- @include "shared/prelude.lua"
--- @include "shared/due.lua"
--- @include "shared/strangers.lua"

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
