-- The verb list: one step of SCAN, on the node that holds the shard.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--      2  the cursor                                                       0
--      3  how many keys to look at                                         500
--      4  how many of those found to skip: a step that finds more than     0
--         there is room for is taken again by the next page
--      5  how many rows there is room for                                  100
--      6  the letter of a status, 7 a name, 8 a queue; each with a = before it, or ''   =p
--
-- Answers the cursor to go on with, how many to skip there, the rows, and names and reasons in turn of what was malformed.

local function verb(argv)
  reset()
  local step = call('SCAN', argv[2], 'MATCH', T .. '[ea]:*', 'COUNT', argv[3])
  local keys, rows, room = step[2], {}, tonumber(argv[5])
  local function is(wanted, value) return wanted == '' or sub(wanted, 2) == value end
  fetch(keys)
  for index = tonumber(argv[4]) + 1, #keys do
    if #rows == room then return { argv[2], index - 1, rows, malformed } end
    local k = keys[index]
    local r = read(k, sub(k, #T + 3))
    if r and is(argv[6], r.status) and is(argv[7], r.kind.name) and is(argv[8], r.kind.queue) then
      rows[#rows + 1] = rowOf(r)
    end
  end
  return { step[1], 0, rows, malformed }
end
