-- The ends of runs whose text the asking process knows, and the short path of one such end.

-- A run of this kind that ends now.
local function endsNow(kind)
  local fresh = now + kind.policy[2]
  kind.endsAt = NOW
  kind.ends = NOW .. moment(fresh) .. moment(fresh + kind.policy[3])
end

-- The text of a run that ends as it was claimed: nothing has to be taken apart. Every text that Lua makes costs 0.1 µs; this makes few,
-- and takes a fifth of what settle() does.
local function completed(kind, watchers, text, value)
  local token, from = '', TOKEN_AT
  if watchers ~= '' then token, from = match(text, '^([^,]+)[^;]*()', from) end
  return 'c' .. sub(text, RUN_AT, FINISHED_AT - 1) .. kind.ends .. place4(#value) .. token .. sub(text, from) .. value
end

-- The end of one run that is as it was claimed, while nothing else is ready or due later, and its instance waits on (the diagram is in
-- admit-alone.lua). Answers when it ended and until when its result is fresh and usable; or nothing, and then nothing is changed.
local function endAlone(argv)
  -- One plain end, of one that waits on: for which want, and as nobody yet.
  if #argv ~= 12 or argv[7] ~= 'C1' or argv[3] == '' or argv[4] == '0' or argv[2] ~= '' then return end
  local kind, watchers, k, text, value = kindOf(argv[8]), argv[9], argv[10], argv[11], argv[12]
  if not kind or kind.group or kind.policy[6] > 0 or watchers ~= '' and watchers ~= sub(argv[5], 1, 8) then return end
  -- The key may hold no text at all.
  if tryCall('GET', k) ~= text or call('EXISTS', LANES, D) > 0 then return end
  if kind.endsAt ~= NOW then endsNow(kind) end
  call('SET', k, completed(kind, watchers, text, value), 'PX', kind.policy.lasts)
  call('HDEL', LEASES, k)
  call('HINCRBY', COUNTS, kind.completed, '1')
  register(argv[6], argv[3], argv[5])
  return kind.ends
end
