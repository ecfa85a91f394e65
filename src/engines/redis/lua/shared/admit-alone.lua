-- The short path of one draft that is alone, and whose own instance waits for it.
--
--   dispatch ── admit ──> beginAlone(): nothing stands under the key, and nothing is ready or due
--                           SET e:<key> = text of a run that runs; HSET leases; HINCRBY counts
--   handler runs  <──────── the text, as the answer
--   settle ─────────────> endAlone() in settle-alone.lua: the text is as it was, and nothing is ready or due
--                           SET e:<key> = text with the result; HDEL leases; HINCRBY counts; waits again

-- The draft was never sent before, so nothing that it did is to be looked for.
local function isNew(flags) return flags.n and not resent end

-- Writes the run as running at once, as create(), handOver() and give() would do it. Answers its text; or nothing, and then nothing is
-- changed.
local function beginAlone(argv)
  -- It is due now and nothing follows it, or there were more arguments.
  if #argv ~= 8 or argv[3] == '' then return end
  local member, want, form, id, params = argv[2], argv[3], formOf(argv[5]), argv[7], argv[8]
  local kind = form.kind
  if not kind or form.delay > 0 or form.most or form.attend or kind.group or kind.policy[1] < 2 or #params > INLINE then return end
  local key, run = sub(id, 1, 43), sub(id, 45)
  local k = E .. key
  -- The flags for duplicates say nothing here: the draft meets no run.
  local flags = form.flags
  -- Among the lanes is also what says that something is paused.
  if call('EXISTS', k, LANES, D) > 0 or not isNew(flags) and call('EXISTS', A .. key .. run) > 0 then return end
  if call('SREM', IDLE .. argv[4], member) == 0 then return end
  local expiry = now + readWant(want).leaseMs
  local text = 'r' .. run .. NOW .. kind.length .. NOW .. NOW .. place4(1) .. place4(form.priority) .. NEVER .. NEVER
    .. NEVER .. USUAL .. member .. '.h' .. (flags.w and ',,,,,' .. sub(member, 1, 8) .. ',,,;' or ';') .. kind.text .. params
  call('SET', k, text)
  call('HSET', LEASES, k, whole(expiry))
  leaseEnds(expiry)
  call('HINCRBY', COUNTS, kind.running, '1')
  return text
end
