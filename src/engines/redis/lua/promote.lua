-- The verb promote: what is pending is due now, or comes earlier.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--      2  the priority that they are to have at least, or ''               5
--      3… the ids
--
-- Answers a letter per id (d due now, r running, e ended, u unknown), and names and reasons in turn of what was malformed.

local function verb(argv)
  reset()
  local answers, atLeast = {}, tonumber(argv[2])
  moveDue()
  for at = 3, #argv do
    local r = find(argv[at])
    if r and r.status == 'p' then
      advance(r, min(tonumber(r.due), now), max(tonumber(r.priority), atLeast or tonumber(r.priority)))
      save(r)
    end
    answers[#answers + 1] = not r and 'u' or r.status == 'p' and 'd' or r.status == 'r' and 'r' or 'e'
  end
  finish()
  return { table.concat(answers), malformed }
end
