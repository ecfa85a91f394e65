-- The verb cancel: ends what is pending or running.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--      2  the reason with an e before it, or ''                            e{"attempt":1,…}
--      3… the ids
--
-- Answers a letter per id (c cancelled, e ended by itself, u unknown), and names and reasons in turn of what was malformed.

local function verb(argv)
  reset()
  local answers = {}
  -- Delayed runs that are due get into their lanes before a follow-up or the next run in line does.
  moveDue()
  for at = 3, #argv do
    local r = find(argv[at])
    if not r then
      answers[#answers + 1] = 'u'
    elseif r.status == 'c' or r.status == 'f' then
      answers[#answers + 1] = 'e'
    else
      answers[#answers + 1] = 'c'
      if r.status ~= 'x' then cancelRun(r, argv[2] ~= '' and sub(argv[2], 2)) end
    end
  end
  finish()
  return { table.concat(answers), malformed }
end
