-- Reads wants, registers those who wait, and notes when the next lease ends.

local wantsRead = {}
local howManyWants = 0

-- When a want was last written down.
local wantedAt = {}
local function readWant(text)
  local want = wantsRead[text]
  if want then return want end
  local list = cjson.decode(text)
  want = { names = {}, leaseMs = list.l, limits = list.m or {} }
  for _, name in ipairs(list.n) do want.names[name] = true end
  if list.q then
    want.queues = {}
    for _, queue in ipairs(list.q) do want.queues[queue == 'default' and '' or queue] = true end
  end
  howManyWants = howManyWants + 1
  if howManyWants > 100 then wantsRead, wantedAt, howManyWants = {}, {}, 1 end
  wantsRead[text] = want
  return want
end

-- A lease that ends before the next sweep that looks is noted, so that this one comes sooner.
local function leaseEnds(expiry)
  if expiry >= now + LOOK_MS then return end
  local next = call('GET', T .. 'firstLease')
  if next and expiry < tonumber(next) then call('SET', T .. 'firstLease', whole(expiry)) end
end

-- Hears of work from now on, or is handed some. For some milliseconds a want is known to be written down: long enough to spare a busy
-- worker the command, and short enough where the store was emptied, or another version of these scripts took it away.
local function register(name, text, member)
  local idle = IDLE .. name
  local since = now - (wantedAt[idle] or 0)
  if since < 0 or since > 10 then
    call('HSET', WANTS, name, text)
    wantedAt[idle] = now
  end
  call('SADD', idle, member)
end
