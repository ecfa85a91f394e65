-- The server's clock, and what every verb uses.
--
-- Scores are milliseconds with a fraction. Redis sorts members with equal scores by their bytes, so each item of a batch gets half a
-- microsecond more than the one before it (a double has 0.24 of a microsecond left at these numbers).

local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local function score(ms, turn) return string.format('%.4f', ms + turn * 0.0005) end
local NOW = score(now, 0)

local function push(queue, bodies)
  for first = 1, #bodies, 500 do
    redis.call('RPUSH', queue, unpack(bodies, first, math.min(first + 499, #bodies)))
  end
end

-- 'deliveries:body' and 'id:body'
local function split(record)
  local colon = string.find(record, ':', 1, true)
  return string.sub(record, 1, colon - 1), string.sub(record, colon + 1)
end
