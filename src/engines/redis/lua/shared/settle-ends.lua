-- The ends of attempts: of one by its token, and of a row of completions by their texts.

-- The keys of the runs whose leases are over.
local ended

-- The end of one attempt, if the token is that of the present one.
local function settle(how, id, token, value, thens)
  local r = find(id)
  if not r or r.status ~= 'r' or r.token ~= token then
    if r and token ~= '' and (r.before == token or (r.token == token and r.status ~= 'r')) then return 's' end
    bump('toutcomesRefused', 1)
    return 'l'
  end
  ended[#ended + 1] = r.k
  freed(r.kind, 1)
  local letter = sub(how, 1, 1)
  if letter == 'c' then
    conclude(r, 'c', value)
  elseif letter == 'f' or letter == 'x' then
    addError(r, value)
    conclude(r, letter)
  else
    bump(r.kind.pending, 1)
    r.status = 'p'
    attendAgain(r)
    if letter == 'r' then
      addError(r, value)
      local due = now + tonumber(sub(how, 2))
      r.due = moment(due)
      save(r)
      enqueue(laneOf(r), r.ticket, due)
      bump('tretried', 1)
    else
      r.attempt = place4(r.attempt - 1)
      local due, rewritten = match(how, '^l(%d*)(p?)')
      if rewritten ~= '' then setParams(r, value) end
      if due ~= '' then r.due = moment(max(tonumber(due), tonumber(r.created))) end
      save(r)
      due = tonumber(r.due)
      if due > now then delay(laneOf(r), r.ticket, due) else place(laneOf(r), r.ticket, due) end
    end
  end
  for _, draft in ipairs(thens) do admitFollow(draft) end
  return 's'
end

-- The commonest ends: of runs of one kind, each as it was claimed. Answers a letter each.
local function complete(argv, at, count)
  local kind, watchers = kindOf(argv[at + 1]), argv[at + 2]
  local usual, place, letters, others, done = kind and kind.policy[6] == 0, at + 3 + count, {}, {}, {}
  if usual and kind.endsAt ~= NOW then endsNow(kind) end
  fetch({ unpack(argv, at + 3, place - 1) })
  for index = 1, count do
    local k, text, value = argv[at + 2 + index], argv[place], argv[place + 1]
    local same = cache[k] == text
    if usual and same then
      text = completed(kind, watchers, text, value)
      call('SET', k, text, 'PX', kind.policy.lasts)
      cache[k] = text
      for address in string.gmatch(watchers, '%S+') do tell(address, 'e', sub(k, #E + 1) .. runOf(text), text) end
      letters[index], done[#done + 1] = 's', k
    else
      letters[index] = settle('c', sub(k, #E + 1) .. runOf(text), match(text, '^[^,;]*', TOKEN_AT), value, {})
    end
    place = place + 2
  end
  if #done > 0 then
    -- A run that is named twice had one lease.
    local count = call('HDEL', LEASES, unpack(done))
    bump(kind.completed, count)
    if kind.group then ran(kind, -count) end
  end
  return table.concat(letters)
end
