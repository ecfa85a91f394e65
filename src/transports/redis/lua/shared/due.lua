-- Moves what is due into line: 500 at a time bound the script, and the next look takes the rest.

local function due(queue)
  local found = {}
  for _, key in ipairs({ queue .. ':delayed', queue .. ':delayed:twins' }) do
    local twins = string.sub(key, -6) == ':twins'
    local members = redis.call('ZRANGEBYSCORE', key, '-inf', NOW, 'WITHSCORES', 'LIMIT', 0, 500)
    local names = {}
    for at = 1, #members, 2 do
      local body = members[at]
      names[#names + 1] = body
      if twins then _, body = split(body) end
      found[#found + 1] = { body, tonumber(members[at + 1]), #found }
    end
    if #names > 0 then redis.call('ZREM', key, unpack(names)) end
  end
  if #found == 0 then return end
  table.sort(found, function(a, b) return a[2] < b[2] or (a[2] == b[2] and a[3] < b[3]) end)
  local bodies = {}
  for at, each in ipairs(found) do bodies[at] = each[1] end
  push(queue, bodies)
end
