-- An instance that closes waits no longer.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--      2… in turn the names of the wants that it is registered under, and as whom   b64hash30000 Aq3kPz1xYw0c9.t4
--
-- Answers under how many of them it was registered no more: news for it is under way.

local function verb(argv)
  local gone = 0
  for at = 2, #argv, 2 do gone = gone + 1 - call('SREM', IDLE .. argv[at], argv[at + 1]) end
  return gone
end
