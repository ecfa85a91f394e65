-- Forgets results and remembered failures, for both verbs that invalidate.

-- An ended run keeps its time to live.
local function keep(r)
  local text = compose(r)
  cache[r.k] = text
  call('SET', r.k, text, 'KEEPTTL')
end

local function isUsable(r) return r and r.status == 'c' and tonumber(r.usable) > now end

local function spoil(r)
  r.fresh, r.usable = moment(min(now, tonumber(r.fresh))), NOW
  keep(r)
end

-- Forgets what stands under one key; with a name, only if it is of that name. Answers 1 if something changed.
local function forget(key, name)
  local k = E .. key
  local r = stands(k)
  if not r then return 0 end
  local other = r.accepted ~= '' and read(A .. key .. r.accepted, key .. r.accepted) or nil
  if name and r.kind.name ~= name and not (other and other.kind.name == name) then return 0 end
  local changed, live = 0, r.status == 'p' or r.status == 'r'
  if isUsable(r) then
    spoil(r)
    changed = 1
  end
  if r.accepted ~= '' then
    if isUsable(other) then
      spoil(other)
      changed = 1
    end
    r.accepted = ''
    if live then save(r) else keep(r) end
  end
  if (tonumber(r.remembered) or 0) > now then
    r.remembered = now
    keep(r)
    changed = 1
  end
  if r.status == 'r' then
    -- It goes on for those who wait, aside, and its lease goes with it.
    local held = call('HGET', LEASES, k)
    if held then
      call('HDEL', LEASES, k)
      lease(tonumber(held), { A .. r.id, held })
    end
    local behind = r.next
    if behind ~= '' then
      r.next = ''
      save(r)
    end
    rename(k, A .. r.id)
    if behind ~= '' then comeForward(key, behind, '') end
    changed = 1
  end
  return changed
end
