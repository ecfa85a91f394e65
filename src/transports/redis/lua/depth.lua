-- The verb depth: counts the messages of queues.
--
-- KEYS …   the queues                                                                         {deferq:q:orders}
--
-- Answers per queue what is ready, delayed, and in consumers' hands.
--- @include "shared/prelude.lua"

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
