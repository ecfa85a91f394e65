-- News: who is told of an end, and who of those that wait is told of work.

local function tell(address, kind, id, text)
  local told = hints[address]
  if not told then
    told = { e = {}, c = {}, texts = {} }
    hints[address] = told
    hearers[#hearers + 1] = address
  end
  if text and #text < 10000 then
    local texts, last = told.texts, #told.texts
    texts[last + 1], texts[last + 2], texts[last + 3] = id, place4(#text), text
  else
    told[kind][#told[kind] + 1] = id
  end
end

local function publish(channel, message)
  if channel == own then
    mine[#mine + 1] = message
    return true
  end
  -- Hints are hints: a user who may not publish loses them and nothing else.
  local heard = tryCall('PUBLISH', prefix .. ':' .. channel, message)
  return not counted or heard ~= 0
end

local function wants(want, lane)
  if not want.names[lane.name] then return false end
  return not want.queues or want.queues[lane.queue] == true
end

local function eachWaiting(lane, handing, try)
  waiting = waiting or call('HGETALL', WANTS)
  for index = 1, #waiting, 2 do
    local want = readWant(waiting[index + 1])
    if wants(want, lane) and (want.leaseMs or not handing) then
      while true do
        local member = call('SPOP', IDLE .. waiting[index])
        if not member then
          call('HDEL', WANTS, waiting[index])
          wantedAt[IDLE .. waiting[index]] = nil
          break
        end
        -- An instance that does not hear is gone, and the next one is tried.
        if try(want, sub(member, 1, 8), member) then return end
      end
    end
  end
end
