-- Decides the outcome of a draft: by the text alone where that is enough, or by the run taken apart.

-- Answers nothing where the run was created. Without the key that it would have aside, none can be there.
local function admit(shape, k, aside, id, params, dueAt, thens)
  local key, run = sub(id, 1, 43), sub(id, 44)
  local due = dueOf(shape, dueAt, now)
  local r = stands(k)
  if not r and not (aside and get(aside)) then
    create(shape.kind, id, params, shape.priority, due, shape.watcher, nil, nil, thens, shape.attend)
    return
  end
  local accepted
  if r and r.status == 'c' and tonumber(r.usable) > now then
    accepted = r
  elseif r and r.accepted ~= '' then
    local other = read(A .. key .. r.accepted, key .. r.accepted)
    if other and tonumber(other.usable) > now then accepted = other end
  end
  local usable = accepted and not shape.refresh
  local own = r and r.run == run and r or aside and read(aside, id)
  if own then
    if usable and accepted.run ~= run then return answer(4, accepted, true, id) end
    return answer(1, own, true)
  end
  local live = r.status == 'p' or r.status == 'r'
  local remembered = r.status == 'f' and (tonumber(r.remembered) or 0) > now
  local answering = usable and accepted or (live or (remembered and not shape.refresh)) and r or nil
  local same = not answering or not shape.compare or paramsOf(answering) == params
  if not same and shape.reject then
    bump('trejected', 1)
    return answer(6, answering, false)
  end
  local pointer = accepted and accepted.run or nil
  if not answering then
    rename(k, A .. r.id)
    create(shape.kind, id, params, shape.priority, due, shape.watcher, pointer, nil, thens, shape.attend)
    return
  end
  if usable then
    followAtOnce(thens, answering)
    if tonumber(answering.fresh) > now then
      bump('thit', 1)
      return answer(3, answering, same)
    end
    bump('tstale', 1)
    if live or remembered then return answer(4, answering, same, live and r.id or nil) end
    -- A run that refreshes it behind everybody's back, of low priority.
    rename(k, A .. r.id)
    create(shape.kind, id, params, min(shape.priority, REFRESH_PRIORITY), due, nil, pointer)
    return answer(4, answering, same, id)
  end
  if live then return meet(shape, r, id, params, dueAt, thens, pointer, same) end
  followAtOnce(thens, r)
  bump('tnegative', 1)
  return answer(5, r, same)
end

-- Answers as admit() would for nearly all drafts that find something, without taking the text apart: a fresh result, or a run that waits
-- and would not change. Half of their cost.
local function atOnce(index, shape, run, text)
  local letter = sub(text, 1, 1)
  if runOf(text) == run then return end
  if letter == 'c' then
    local fresh, stop = tonumber(sub(text, FRESH_AT, FRESH_AT + 12)), findText(text, ';', TOKEN_AT, true)
    if not fresh or fresh <= now or not stop or (findText(text, ',', TOKEN_AT, true) or 0) < stop then return end
    if not kinds[sub(text, stop + 1, stop + (tonumber(sub(text, LENGTH_AT, LENGTH_AT + 3), 16) or 0))] then return end
    bump('thit', 1)
    return place4(index) .. '35' .. text
  elseif letter == 'n' and shape.changesNothing and sub(text, LENGTH_AT, HEAD_AT - 1 + #shape.kind.text) == shape.kind.length .. shape.kind.text then
    bump('tjoined', 1)
    return place4(index) .. '25' .. text
  end
end
