-- A call that is sent again is answered what it was answered at first, by its id (ARGV[1]), and changes nothing. Each call looks,
-- because a server that hung may come upon the second sending first.

local once = KEYS[1] .. ':sent:' .. ARGV[1]
local before = redis.call('GET', once)
if before then return before end
local function answered(answers)
  redis.call('SET', once, answers, 'PX', ARGV[2])
  return answers
end
