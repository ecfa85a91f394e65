-- Puts messages into a queue: at once, or behind a delay.

local lines = {}
local function store(queue, delay, turn, body)
  if delay > 0 then
    local due = score(now + delay, turn)
    if redis.call('ZADD', queue .. ':delayed', 'NX', due, body) == 0 then
      redis.call('ZADD', queue .. ':delayed:twins', due, ARGV[1] .. '.' .. turn .. ':' .. body)
    end
    return
  end
  local line = lines[queue]
  if not line then
    line = {}
    lines[queue] = line
  end
  line[#line + 1] = body
end
local function flush()
  for queue, line in pairs(lines) do push(queue, line) end
end
