-- The verb sweep: recovers what died with its worker, ends what nobody asks for, clears stale tickets.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--      2  how many runs it may end or put back                             100
--      3  the error of a lost lease as JSON, with @A for the attempt and   {"attempt":@A,"at":@T,…}
--         @T for the time
--
-- Answers a list:
--      1  the ids of what went back to its lane
--      2  the ids of what failed
--      3  the ids of what was cancelled because nobody asked for it
--      4  1 if there is more to look at
--      5  names and reasons in turn of what was malformed
--- @include "shared/sweep-steps.lua"

local function verb(argv)
  reset()
  moveDue()
  local requeued, failed, abandoned, limit = {}, {}, {}, tonumber(argv[2])
  local expired, scan = endedLeases(limit)
  fetch(expired)
  add(function(list, from, to) call('HDEL', LEASES, unpack(list, from, to)) end, expired)
  for _, k in ipairs(expired) do
    local r = stands(k)
    if r and r.status == 'r' then
      local attempt = tonumber(r.attempt)
      local error = string.gsub(string.gsub(argv[3], '@A', attempt), '@T', format('%.0f', now))
      -- Only a token that settled something is answered again; this one was taken away.
      r.token = ''
      addError(r, error)
      freed(r.kind, 1)
      bump('tleasesLost', 1)
      if attempt >= r.kind.policy[1] then
        conclude(r, 'f')
        failed[#failed + 1] = r.id
      else
        r.status, r.due = 'p', NOW
        attendAgain(r)
        save(r)
        bump(r.kind.pending, 1)
        push(laneOf(r), r.ticket)
        requeued[#requeued + 1] = r.id
      end
    end
  end
  flush()

  -- Those that run on count for nothing: they must not stand in the way of the rest.
  for _, id in ipairs(call('ZRANGEBYSCORE', T .. 'attended', '-inf', now, 'LIMIT', 0, LOOKED_AT)) do
    if #abandoned == limit then break end
    local r = find(id)
    local how, ms = match(r and r.attend or '', '^.............(%a)(%d+)$')
    if not how or (r.status ~= 'p' and r.status ~= 'r') then
      call('ZREM', T .. 'attended', id)
    elseif r.status == 'r' and how == 'p' then
      -- It runs on; should it come back, attendAgain() sets its time again.
      call('ZADD', T .. 'attended', now + tonumber(ms), id)
    else
      cancelRun(r, errorText(ABANDONED, r))
      abandoned[#abandoned + 1] = id
    end
  end
  flush()

  clearStale()
  finishCounters()
  return { requeued, failed, abandoned, scan and 1 or 0, malformed }
end
