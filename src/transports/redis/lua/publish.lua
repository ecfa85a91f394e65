-- The verb publish: puts messages into queues.
--
-- KEYS …   the queues                                                                         {deferq:q:orders}
-- ARGV 1   the id of the call                                                                 Aq3kPz1x.7
--      2   for how long its answer is remembered, in ms                                       60000
--      3…  per message: the index of its queue, its delay in ms, its bytes                    1 0 {"n":1}
--
-- Answers ''.
--- @include "shared/prelude.lua"
--- @include "shared/once.lua"
--- @include "shared/store.lua"

for at = 3, #ARGV, 3 do store(KEYS[tonumber(ARGV[at])], tonumber(ARGV[at + 1]), (at - 3) / 3, ARGV[at + 2]) end
flush()
return answered('')
