-- The verb extend: the heartbeat of what runs.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--      2  how long the leases last from now on, in ms                      30000
--      then per lease:
--      +0 id and token in one                                              k3Fh…Aq3kPz1xYw0c9.t5.0
--      +1 its progress with a p before it, or ''                           p{"done":3}
--
-- Answers a letter per lease (h held, l lost, c cancelled), and names and reasons in turn of what was malformed.

local function verb(argv)
  reset()
  local answers, held, expiry, keys = {}, {}, now + tonumber(argv[2]), {}
  for at = 3, #argv, 2 do keys[#keys + 1] = E .. sub(argv[at], 1, 43) end
  fetch(keys)
  for at = 3, #argv, 2 do
    local id, token, progress = sub(argv[at], 1, 59), sub(argv[at], 60), argv[at + 1]
    local r = find(id)
    if r and r.status == 'r' and r.token == token then
      if progress ~= '' then
        local side = r.side
        aside(r, 'g', 'g', sub(progress, 2))
        if r.side ~= side then save(r) end
      end
        held[#held + 1] = r.k
      held[#held + 1] = whole(expiry)
      answers[#answers + 1] = 'h'
    else
      answers[#answers + 1] = r and r.status == 'x' and 'c' or 'l'
    end
  end
  write()
  lease(expiry, held)
  return { table.concat(answers), malformed }
end
