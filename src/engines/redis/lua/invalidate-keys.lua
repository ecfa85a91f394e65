-- The verb invalidate, by keys: results and remembered failures are forgotten.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--      2  what to tell everybody                                           i{"keys":["…"]}
--      3… the keys
--
-- Answers how many changed, and names and reasons in turn of what was malformed.
--- @include "shared/forget.lua"

local function verb(argv)
  reset()
  local changed = 0
  -- Delayed runs that are due get into their lanes before a follow-up or the next run in line does.
  moveDue()
  for at = 3, #argv do changed = changed + forget(argv[at]) end
  publish('all', argv[2])
  finish()
  return { changed, malformed }
end
