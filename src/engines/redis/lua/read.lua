-- The verb read: runs by id, or what stands under a key.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--      2  the address of the instance that watches, or ''                  Aq3kPz1x
--      3… ids (59 characters), or keys (43) for what stands there
--
-- Answers per id the run's own and its text in one, a row where something lies beside the text, or 0; and names and reasons in turn of
-- what was malformed.

local function verb(argv)
  reset()
  local rows, keys, watcher = {}, {}, argv[2]
  for at = 3, #argv do keys[at - 2] = E .. sub(argv[at], 1, 43) end
  fetch(keys)
  for at = 3, #argv do
    local id = argv[at]
    if #id == 43 then id = id .. runOf(get(E .. id) or '') end
    local r, text = find(id), nil
    if r and r.attend ~= '' then
      r.attend = attended(r.id, sub(r.attend, 14))
      text = save(r)
    end
    if r and watcher ~= '' and (r.status == 'p' or r.status == 'r') and not findText(r.watchers, watcher, 1, true) then
      r.watchers = (r.watchers == '' and '' or r.watchers .. ' ') .. watcher
      text = save(r)
    end
    local row = r and rowOf(r, text)
    rows[#rows + 1] = not row and 0 or row[3] and row or row[2] .. row[1]
  end
  write()
  return { rows, malformed }
end
