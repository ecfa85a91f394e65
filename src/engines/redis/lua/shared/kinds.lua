-- Reads texts that many runs have in common, and keeps what was read from call to call: policies, kinds, shapes of drafts.

local policies = {}

-- maxAttempts, resultTtl, staleTtl, failureTtl, retention, every: in base 36, 0 as nothing; times in seconds, or in
-- ms after a point.
local function policyOf(packed)
  local policy = policies[packed]
  if not policy then
    policy = {}
    for point, part in string.gmatch(packed .. ',', '(%.?)([^,]*),') do
      policy[#policy + 1] = (tonumber(part, 36) or 0) * (point == '' and 1000 or 1)
    end
    if #policy < 5 then return end
    policy[6] = policy[6] or 0
    policy[1] = policy[1] / 1000
    -- How long a run is kept once it has completed.
    policy.lasts = whole(max(policy[2] + policy[3], policy[5], 1))
    policies[packed] = policy
  end
  return policy
end

local kinds = {}
local howManyKinds = 0
local function kindOf(text)
  local kind = kinds[text]
  if kind then return kind end
  local packed, q, x, g, at = match(text, '^([^;:]*);?(%d*),?(%d*),?(%d*):()')
  local policy = packed and policyOf(packed)
  if not policy then return end
  q, x, g = tonumber(q) or 0, tonumber(x), tonumber(g)
  local groupAt = at + q + (x or 0)
  local queue, name = sub(text, at, at + q - 1), sub(text, groupAt + (g or 0))
  if #queue ~= q or name == '' then return end
  local lane = q .. ':' .. queue .. name
  kind = {
    text = text, length = format('%04x', #text), packed = packed, policy = policy, after = sub(text, #packed + 1),
    name = name, queue = queue, extra = x and sub(text, at + q, groupAt - 1), lane = lane, pending = 'p' .. lane, running = 'r' .. lane,
    completed = 'c' .. lane, list = lane,
  }
  if g then
    kind.group = sub(text, groupAt, groupAt + g - 1)
    kind.list = lane .. '\1' .. kind.group
  end
  -- They are kept from call to call; a store sees few of them, or as many as it likes.
  howManyKinds = howManyKinds + 1
  if howManyKinds > 1000 then kinds, policies, howManyKinds = {}, {}, 1 end
  kinds[text] = kind
  return kind
end

local places = {}

-- Four places, for attempts and priorities.
local function place4(number)
  local text = places[number]
  if not text then
    text = format('%04d', number)
    places[number] = text
  end
  return text
end

-- The end of a token, which tells the tokens of one claim apart: to spell a number takes longer than all else about a token.
local suffixes = {}
local function suffix(number)
  local text = suffixes[number]
  if not text then
    text = '.' .. number .. ';'
    suffixes[number] = text
  end
  return text
end

local forms = {}
local howManyForms = 0

-- The common part of drafts of one shape.
local function formOf(text)
  local form = forms[text]
  if form then return form end
  local priority, delay, letters, most, attend, kind = match(text, '^%*([^,]*),([^,]*),(%a*),(%d*),(%w*);(.*)$')
  form = {
    kind = kindOf(kind), priority = tonumber(priority), delay = tonumber(delay), flags = {}, most = tonumber(most),
    attend = attend ~= '' and attend or nil,
  }
  for letter in string.gmatch(letters, '%a') do form.flags[letter] = true end
  howManyForms = howManyForms + 1
  if howManyForms > 1000 then forms, howManyForms = {}, 1 end
  forms[text] = form
  return form
end
