-- The verb release: puts messages back, elsewhere or later if wanted, with other bytes if wanted.
--
-- KEYS …   the queues of both                                                                 {deferq:q:orders}
-- ARGV 1   the id of the call                                                                 Aq3kPz1x.7
--      2   for how long its answer is remembered, in ms                                       60000
--      3…  per delivery: the index of its queue, its token, the index of the new queue, the   1 Aq3kPz1x.0.1 1 5000 0 ''
--          delay in ms, 1 for new bytes, these
--
-- Answers a digit per delivery: 1, or 0 if its token holds it no more.
--- @include "shared/prelude.lua"
--- @include "shared/once.lua"
--- @include "shared/take.lua"
--- @include "shared/store.lua"

local answers = {}
for at = 3, #ARGV, 6 do
  local body = take(KEYS[tonumber(ARGV[at])], ARGV[at + 1])
  answers[#answers + 1] = body and '1' or '0'
  if body then
    if ARGV[at + 4] == '1' then body = ARGV[at + 5] end
    store(KEYS[tonumber(ARGV[at + 2])], tonumber(ARGV[at + 3]), (at - 3) / 6, body)
  end
end
flush()
return answered(table.concat(answers))
