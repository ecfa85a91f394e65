-- The verb count: the counters of a shard, and what is paused.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--
-- Answers the fields and values of the counters in turn, and what is paused.

local function verb(argv)
  return { call('HGETALL', COUNTS), call('SMEMBERS', T .. 'paused') }
end
