-- Follow-ups: drafts that the end of a run admits.

-- A follow-up travels as the JSON text of a list of texts; cjson reads those to the letter, and nothing is
-- ever encoded here, where it would turn [] into {} and round large numbers. The list: s, f or b for success,
-- failure, both, then = for the same parent; id, kind, priority, delay, due, params, and its own follow-ups.
local function readFollow(text)
  local list = cjson.decode(text)
  return { text = text, list = list, id = list[2] }
end

local function admitFollow(follow, parent)
  local id, list = follow.id, follow.list
  local k = E .. sub(id, 1, 43)
  local text = get(k)
  if text and runOf(text) == sub(id, 44) or get(A .. id) then return end
  -- Its key belongs to it alone, so only what has ended can stand there.
  if text then rename(k, A .. sub(id, 1, 43) .. runOf(text)) end
  local thens = {}
  for index = 8, #list do thens[#thens + 1] = readFollow(list[index]) end
  local due = max(now, tonumber(list[6]) or now + tonumber(list[5]))
  create(kindOf(list[3]), id, list[7], tonumber(list[4]), due, nil, nil, parent, thens)
end

-- Admits what follows an end of this kind.
local function fire(follow, r, parent)
  local on = sub(follow.list[1], 1, 1)
  if on ~= 'b' and (on == 's') ~= (parent.status == 'c') then return end
  if #follow.list[1] == 1 then return admitFollow(follow, parent) end
  local told = call('HMGET', X .. r.id, 'P', 'N', 'V')
  admitFollow(follow, told[1] and {
    id = sub(told[1], 1, 59), status = sub(told[1], 60), name = told[2], value = told[3] or nil,
  })
end

local function addError(r, error)
  local count = tonumber(r.errors) or 0
  r.errors = count + 1
  aside(r, 'e', 'e' .. count % MAX_ERRORS, error)
end

-- The facts of an ended run that its follow-ups are told.
local function parentOf(r, value)
  local parent = { id = r.id, name = r.kind.name, status = r.status, value = value }
  if r.status ~= 'c' and r.errors ~= '' then
    parent.value = call('HGET', X .. r.id, 'e' .. (r.errors - 1) % MAX_ERRORS) or nil
  end
  return parent
end

local function follow(r, value)
  local gone, parent = {}, parentOf(r, value)
  for _, field in ipairs(call('HKEYS', X .. r.id)) do
    if sub(field, 1, 1) == '+' then
      gone[#gone + 1] = field
      fire(readFollow(call('HGET', X .. r.id, field)), r, parent)
    end
  end
  add(function(list, from, to) call('HDEL', X .. r.id, unpack(list, from, to)) end, gone)
end
