-- The verb extend: holds messages for longer.
--
-- KEYS …   the queues                                                                         {deferq:q:orders}
-- ARGV 1   for how long from now, in ms                                                       30000
--      2   1 to answer the bytes                                                              0
--      3…  per delivery: the index of its queue, its token                                    1 Aq3kPz1x.0.1
--
-- Answers per delivery 1 or its bytes, or '' if its token holds it no more.
--- @include "shared/prelude.lua"

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
