-- The verb leave: a consumer is gone, and what it held has been held for too long.
--
-- KEYS …   the queues                                                                         {deferq:q:orders}
-- ARGV 1   how the tokens of the consumer begin                                               Aq3kPz1x.
--
-- Answers ''.
--- @include "shared/prelude.lua"

for _, queue in ipairs(KEYS) do
  for turn, token in ipairs(redis.call('ZRANGE', queue .. ':leases', 0, -1)) do
    if string.sub(token, 1, #ARGV[1]) == ARGV[1] then
      redis.call('ZADD', queue .. ':leases', score(now - 1, turn), token)
    end
  end
end
return ''
