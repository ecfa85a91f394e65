-- A draft meets a live run: it joins, replaces or supersedes that run, or waits behind it.

-- Outcomes by number: 1 created, 2 joined, 3 hit, 4 stale, 5 negative, 6 rejected.
local function answer(outcome, r, same, refresh, text)
  local row = rowOf(r, text)
  if row[3] then return { 0, outcome, row, same and 1 or 0, refresh or '' } end
  return outcome .. (refresh and (same and '3' or '2') .. refresh or (same and '1' or '0')) .. row[2] .. row[1]
end

local function paramsOf(r)
  if findText(r.side, 'p', 1, true) then return call('HGET', X .. r.id, 'p') end
  return sub(r.text, r.at, #r.text - r.answer)
end

local function resultOf(r)
  if findText(r.side, 'r', 1, true) then return call('HGET', X .. r.id, 'r') end
  return sub(r.text, #r.text - r.answer + 1)
end

local function followAtOnce(thens, r)
  if not thens then return end
  local parent = parentOf(r, r.status == 'c' and resultOf(r) or nil)
  for _, follow in ipairs(thens) do fire(follow, r, parent) end
end

-- Due then, of a run that was made at that moment.
local function dueOf(shape, dueAt, made)
  local due = dueAt or now + shape.delay
  return max(now, shape.most and min(due, made + shape.most) or due)
end

-- With replacing its due time becomes the draft's, be it later.
local function merge(shape, r, due, thens, replacing)
  local kind, changed = r.kind, replacing
  if shape.kind.policy[5] > kind.policy[5] then
    local four, rest = match(kind.packed, '^([^,]*,[^,]*,[^,]*,[^,]*,)[^,]*(.*)$')
    r.kind = kindOf(four .. match(shape.kind.packed, '^[^,]*,[^,]*,[^,]*,[^,]*,([^,]*)') .. rest .. kind.after)
    changed = true
  end
  if thens then
    -- Under their ids, so that a repeated command adds none.
    for _, follow in ipairs(thens) do call('HSETNX', X .. r.id, '+' .. follow.id, follow.text) end
    if not findText(r.side, '+', 1, true) then
      r.side = r.side .. '+'
      changed = true
    end
  end
  if shape.watcher and not findText(r.watchers, shape.watcher, 1, true) then
    r.watchers = (r.watchers == '' and '' or r.watchers .. ' ') .. shape.watcher
    changed = true
  end
  if r.attend ~= '' then
    local how, ms = match(r.attend, '^.............(%a)(%d+)$')
    if shape.attend then
      local running = how == 'r' and sub(shape.attend, 1, 1) == 'r'
      r.attend = attended(r.id, (running and 'r' or 'p') .. whole(max(tonumber(ms), tonumber(sub(shape.attend, 2)))))
    else
      -- One who wants it kept keeps it for good.
      call('ZREM', T .. 'attended', r.id)
      r.attend = ''
    end
    changed = true
  end
  local wasDue = tonumber(r.due)
  -- A back-off is not cut short: only what has never run comes forward.
  local newDue = tonumber(r.attempt) == 0 and (replacing and due or min(wasDue, due)) or wasDue
  changed = advance(r, newDue, max(tonumber(r.priority), shape.priority)) or changed
  return changed and save(r) or r.text
end

local function superseded(r, by)
  return (string.gsub(errorText(SUPERSEDED, r), '@B', hexOf(sub(by, 1, 43)) .. hexOf(sub(by, 44))))
end

local function replace(shape, r, params)
  setParams(r, params)
  local kind, extra = r.kind, shape.kind.extra
  if kind.extra == extra then return end
  r.kind = kindOf(kind.packed .. ';' .. #kind.queue .. ',' .. (extra and #extra or '') .. (kind.group and ',' .. #kind.group or '')
    .. ':' .. kind.queue .. (extra or '') .. (kind.group or '') .. kind.name)
end

-- A live run stands there, and no result answers. Answers nothing where a run was created.
local function meet(shape, r, id, params, dueAt, thens, pointer, same)
  local key, run, how, met = sub(id, 1, 43), sub(id, 44), shape.duplicates, r
  if how then
    local function behind()
      create(shape.kind, id, params, shape.priority, dueOf(shape, dueAt, now), shape.watcher, nil, nil, thens, shape.attend, true)
      local head = read(E .. key, r.ticket)
      head.next = run
      save(head)
    end
    local next = r.next ~= '' and read(A .. key .. r.next, key .. r.next) or nil
    if how.Z and not next and r.status == 'r' then return behind() end
    if how.Z and next then met = next end
    local running = met.status == 'r'
    if running and how.X or not running and how.R then
      bump('trejected', 1)
      return answer(6, met, not shape.compare or paramsOf(met) == params)
    end
    if running and how.Y or not running and how.S then
      if next then cancelRun(next, superseded(next, id)) end
      if met == next then return behind() end
      r = read(E .. key, r.ticket)
      cancelRun(r, superseded(r, id))
      rename(E .. key, A .. r.id)
      create(shape.kind, id, params, shape.priority, dueOf(shape, dueAt, now), shape.watcher, pointer, nil, thens, shape.attend)
      return
    end
    if not running and how.P then
      replace(shape, met, params)
      bump('tjoined', 1)
      return answer(2, met, true, nil, merge(shape, met, dueOf(shape, dueAt, tonumber(met.created)), thens, true))
    end
    if met ~= r then same = not shape.compare or paramsOf(met) == params end
  end
  bump('tjoined', 1)
  return answer(2, met, same, nil, merge(shape, met, dueOf(shape, dueAt, tonumber(met.created)), thens))
end
