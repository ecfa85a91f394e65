-- The verb ack: removes messages that have been handled.
--
-- KEYS …   the queues                                                                         {deferq:q:orders}
-- ARGV 1   the id of the call                                                                 Aq3kPz1x.7
--      2   for how long its answer is remembered, in ms                                       60000
--      3…  per delivery: the index of its queue, its token                                    1 Aq3kPz1x.0.1
--
-- Answers a digit per delivery: 1, or 0 if its token holds it no more.
--- @include "shared/prelude.lua"
--- @include "shared/once.lua"
--- @include "shared/take.lua"

local answers = {}
for at = 3, #ARGV, 2 do
  answers[#answers + 1] = take(KEYS[tonumber(ARGV[at])], ARGV[at + 1]) and '1' or '0'
end
return answered(table.concat(answers))
