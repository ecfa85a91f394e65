-- A message that was moved to processing by a consumer without leases is a stranger there. It gets the visibility from the moment
-- when it is first seen, and then counts as held by somebody who is gone. The list is compared with what we hold at most once a
-- second, and only while it is longer.

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
