-- How a run ends, by itself or from outside.

-- Its text, in place of what it had.
local function setParams(r, params)
  if #params > INLINE then
    aside(r, 'p', 'p', params)
    params = ''
  elseif findText(r.side, 'p', 1, true) then
    call('HDEL', X .. r.id, 'p')
    r.side = string.gsub(r.side, 'p', '')
  end
  r.text, r.at = params, 1
end

-- The run that stood under the key is gone: the one behind it comes forward.
local function comeForward(key, run, pointer)
  local k = E .. key
  if not get(A .. key .. run) then return end
  rename(A .. key .. run, k)
  local r = read(k, key .. sub(run, 1, 2), key .. run)
  if not r then return end
  r.accepted = pointer
  save(r)
  local due = tonumber(r.due)
  -- It may be due for longer than others that are in its lane by now.
  if due > now then delay(laneOf(r), r.ticket, due) else place(laneOf(r), r.ticket, due) end
end

-- The end of a run: its state, its time to live, those who watch, and what follows it.
local function conclude(r, status, value)
  local policy, under = r.kind.policy, #r.ticket == 45
  local expires, window = now + policy[5], policy[6] > 0 and tonumber(r.begun) + policy[6] or 0
  local key, behind = sub(r.id, 1, 43), under and r.next or ''
  r.next = ''
  if r.attend ~= '' then
    call('ZREM', T .. 'attended', r.id)
    r.attend = ''
  end
  local result = ''
  r.status, r.finished = status, NOW
  if status == 'c' then
    r.fresh, r.usable = NOW, NOW
    if under then
      local fresh = max(now + policy[2], window)
      r.fresh, r.usable = moment(fresh), moment(fresh + policy[3])
      expires = max(expires, fresh + policy[3])
    end
    r.accepted = ''
    if #value > INLINE then aside(r, 'r', 'r', value) else result, r.answer = value, place4(#value) end
    bump('tcompleted', 1)
  else
    if status == 'f' and max(now + policy[4], window) > now then
      r.remembered = max(now + policy[4], window)
      expires = max(expires, r.remembered)
    end
    -- The way to the accepted result must not end before the result does.
    if r.accepted ~= '' and under then
      local accepted = read(A .. sub(r.id, 1, 43) .. r.accepted, sub(r.id, 1, 43) .. r.accepted)
      expires = max(expires, accepted and tonumber(accepted.usable) or 0)
    end
    bump(status == 'f' and 'tfailed' or 'tcancelled', 1)
  end
  local watchers = r.watchers
  r.watchers = ''
  if findText(r.side, '+', 1, true) then
    follow(r, value)
    r.side = string.gsub(r.side, '%+', '')
  end
  local lasts = whole(max(expires, now + 1) - now)
  local text = compose(r) .. result
  put(r.k, text, lasts)
  for address in string.gmatch(watchers, '%S+') do tell(address, 'e', r.id, r.side == '' and text or nil) end
  if r.side ~= '' then call('PEXPIRE', X .. r.id, lasts) end
  if behind ~= '' then
    local pointer = status == 'c' and tonumber(r.usable) > now and r.run or r.accepted
    rename(r.k, A .. r.id)
    comeForward(key, behind, pointer)
  elseif not under then
    -- It may have waited behind what stands there.
    local text = get(E .. key)
    local head = text and findText(text, r.run, 1, true) and stands(E .. key)
    if head and head.next == r.run then
      head.next = ''
      save(head)
    end
  end
end

-- The 64 digits of base64url as hexadecimal ones.
local DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

local function hexOf(text)
  local digits, bits, held = {}, 0, 0
  for index = 1, #text do
    held, bits = held * 64 + findText(DIGITS, sub(text, index, index), 1, true) - 1, bits + 6
    while bits >= 4 do
      bits = bits - 4
      local digit = floor(held / 2 ^ bits)
      held = held - digit * 2 ^ bits
      digits[#digits + 1] = format('%x', digit)
    end
  end
  return table.concat(digits)
end

local function errorText(template, r)
  return (string.gsub(string.gsub(template, '@A', tonumber(r.attempt)), '@T', whole(now)))
end

-- Ends what is pending or running, for all who wait for it.
local function cancelRun(r, reason)
  if r.status == 'r' then
    call('HDEL', LEASES, r.k)
    freed(r.kind, 1)
    -- A token begins with the address of the instance that holds it.
    tell(sub(r.token, 1, 8), 'c', r.id)
    -- Only a token that settled something is answered again; this one was taken away.
    r.token = ''
  else
    if call('ZREM', D, r.ticket) == 0 then drop(laneOf(r), r.ticket) end
    bump(r.kind.pending, -1)
  end
  if reason then addError(r, reason) end
  conclude(r, 'x')
end
