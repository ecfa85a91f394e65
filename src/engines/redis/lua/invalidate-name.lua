-- The verb invalidate, by name: one step of SCAN; each key is forgotten in the step that finds it.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--      2  what to tell everybody with the last step                        i{"name":"job"}
--      3  the name                                                         job
--      4  the cursor                                                       0
--      5  how many keys to look at                                         500
--
-- Answers the next cursor, how many changed, and names and reasons in turn of what was malformed.
--- @include "shared/forget.lua"

local function verb(argv)
  reset()
  local step = call('SCAN', argv[4], 'MATCH', T .. 'e:*', 'COUNT', argv[5])
  local changed = 0
  -- Delayed runs that are due get into their lanes before the next run in line does.
  moveDue()
  for _, k in ipairs(step[2]) do changed = changed + forget(sub(k, #T + 3), argv[3]) end
  if step[1] == '0' then publish('all', argv[2]) end
  finish()
  return { step[1], changed, malformed }
end
