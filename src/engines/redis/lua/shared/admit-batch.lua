-- Reads the batch of the verb admit: the shapes, and the drafts that have them.

-- The shapes, and where in argv the first row of drafts stands.
local function shapesOf(argv)
  local shapes = {}
  local at = 5
  while byte(argv[at]) == 42 do
    local form = formOf(argv[at])
    local flags = form.flags
    local shape = {
      kind = form.kind, priority = form.priority, delay = form.delay, most = form.most, attend = form.attend,
      refresh = flags.r, reject = flags.m, compare = flags.m or flags.j, watcher = flags.w and own or nil,
      hasDue = flags.d, hasThen = flags.t, isNew = isNew(flags), born = 0,
      duplicates = (flags.R or flags.P or flags.S or flags.X or flags.Y or flags.Z) and flags,
    }
    -- Where drafts differ in id and params alone, so do the texts of their runs.
    if shape.delay == 0 and not shape.hasDue and not shape.hasThen and not shape.attend then
      shape.letter, shape.birth = birth(shape.kind, shape.priority, now, shape.watcher, nil, '')
      shape.lane = laneAt(shape.kind, shape.priority)
    end
    shape.asksOnly = not shape.refresh and not shape.compare and not shape.hasThen
    shape.changesNothing = shape.birth and not shape.watcher and not shape.duplicates and not shape.most and shape.priority <= 0
    shapes[#shapes + 1] = shape
    at = at + 1
  end
  return shapes, at
end

-- The drafts by their places: ks what stands under each key, and its shape, key, run, params and (where it may have been done before)
-- the key that it would have aside; more is where in argv the rest of it stands.
local function draftsOf(argv, at, shapes)
  local ks, shapeOf, keys, runs, texts, asides, more = {}, {}, {}, {}, {}, {}, {}
  local count, last = 0, #argv
  while at <= last do
    local number, lines = match(argv[at], '^(%d+)(.*)$')
    local shape, spelled, params = shapes[tonumber(number)], argv[at + 1], argv[at + 2]
    local from = 1
    local lengths = lines ~= '' and string.gmatch(lines, '%d+')
    at = at + 3
    -- Lua reads each text that it makes, byte by byte: what need not be made is left out.
    for place = 1, #spelled, 60 do
      local key, run = sub(spelled, place, place + 42), sub(spelled, place + 44, place + 59)
      count = count + 1
      ks[count], shapeOf[count], keys[count], runs[count], texts[count] = E .. key, shape, key, run, params
      if #spelled > 60 then
        local stop = lengths and from + lengths() or findText(params, '\n', from, true)
        texts[count], from = sub(params, from, stop - 1), stop + 1
      end
      if not shape.isNew then asides[count] = A .. key .. run end
      if shape.hasDue or shape.hasThen then
        more[count] = at
        if shape.hasDue then at = at + 1 end
        if shape.hasThen then at = at + 1 + tonumber(argv[at]) end
      end
    end
  end
  return ks, shapeOf, keys, runs, texts, asides, more
end
