-- The verb peek: shows the first messages of a queue, and takes nothing.
--
-- KEYS 1   the queue                                                                          {deferq:q:orders}
-- ARGV 1   how many at most                                                                   10
--
-- Answers their bytes.
--- @include "shared/prelude.lua"
--- @include "shared/due.lua"

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
