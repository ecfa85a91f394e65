-- The verbs settle and claim: attempts end, and what is next begins in the same step.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--      2  how this instance waits here: want's name and member in turn     b64hash30000 Aq3kPz1xYw0c9.t4
--      3  the want, or '': names, queues, the lease in ms if runs may      {"n":["job"],"l":30000}
--         be handed over, limits of groups
--      4  the limit, a comma and the lease in ms; 0: only see whether      100,30000
--         something is ready
--      5  the prefix of the tokens, also what to register as; begins with  Aq3kPz1xYw0c9.t5
--         the address of the instance
--      6  the name of the want                                             b64hash30000
--      then for each row of completions whose texts the asking process knows:
--      +0 C and how many; +1 their kind; +2 their watchers                 C2  3,2s,,,2s:job  Aq3kPz1x
--      then the Redis keys of all, and of each its text as it was claimed, and the value
--      and for each other outcome:
--      +0 c, f, x (cancelled), r and the delay in ms, or l (released), the due time if that is another, and p if the value is to be its
--         params; then a + and the number of drafts, if any                r1500+1
--      +1 key, +2 run, +3 token, +4 value, then the drafts
--
-- Answers what endAlone() does, or a list:
--      1  now
--      2  a letter for each outcome: s settled, l lost                     ssl
--      3  what was claimed: of each run its text, or that and what lies beside
--      4  the tickets of these
--      5  in how many ms something wanted is due, or -1
--      6  1 if something wanted may be ready still
--      7  news for the one who asks
--      8  names and reasons in turn of what was malformed
--- @include "shared/settle-alone.lua"
--- @include "shared/settle-ends.lua"
--- @include "shared/claim-heads.lua"
--- @include "shared/claim-groups.lua"
--- @include "shared/claim-lanes.lua"

local function verb(argv)
  local times = endAlone(argv)
  if times then return times end
  reset()
  ended = {}
  noClaims()
  own = sub(argv[5], 1, 8)
  for name, member in string.gmatch(argv[2], '(%S+) (%S+)') do call('SREM', IDLE .. name, member) end
  local keys, answers, at, last = {}, {}, 7, #argv
  while at <= last do
    local known = tonumber(match(argv[at], '^C(%d+)$'))
    if known then
      at = at + 3 + 3 * known
    else
      keys[#keys + 1] = E .. argv[at + 1]
      at = at + 5 + tonumber(match(argv[at], '%+(%d+)') or 0)
    end
  end
  fetch(keys)
  moveDue()
  at = 7
  while at <= last do
    local how = argv[at]
    local known = tonumber(match(how, '^C(%d+)$'))
    if known then
      answers[#answers + 1] = complete(argv, at, known)
      at = at + 3 + 3 * known
    else
      local kind, count = match(how, '^(.[^+]*)%+?(%d*)$')
      local _, key, run, token, value = unpack(argv, at, at + 4)
      local thens = {}
      for then_ = 1, tonumber(count) or 0 do thens[then_] = readFollow(argv[at + 4 + then_]) end
      answers[#answers + 1] = settle(kind, key .. run, token, value, thens)
      at = at + 5 + #thens
    end
  end
  add(function(list, from, to) call('HDEL', LEASES, unpack(list, from, to)) end, ended)
  flush()

  local want = argv[3] ~= '' and readWant(argv[3])
  if want then
    local limit, lease = match(argv[4], '^(%d+),?(%d*)$')
    if limit == '0' then look(want) else claim(want, tonumber(limit), tonumber(lease), argv[5]) end
  end
  finish()
  if want and claims.more == 0 then
    register(argv[6], argv[3], argv[5])
    findNextDue(want)
  end
  local reply = { now, table.concat(answers), claims.rows, claims.tickets, claims.nextDue, claims.more, mine, malformed }
  claims, ended = nil, nil
  return reply
end
