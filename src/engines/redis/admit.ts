// The verb `admit`: its script.
import { REFRESH_PRIORITY } from '../../contract/engine.ts'
import { BEGIN_ALONE } from './fast-path.ts'
import { INLINE, LETTER } from './lua/layout.ts'
import { AT_ONCE, MEETING } from './on-duplicate.ts'

/**
 * In: ARGV 2 as whom the asking instance waits itself for the drafts, which begins with its address, or the address alone; 3 and 4 the want
 * for which it waits, and the want's name, or ''; the shapes, each an asterisk and, parted by commas, priority, delay, flags (r refresh, j join
 * or m reject on mismatch, w watch, d due, t then, n new; of a duplicate R reject, P replace or S supersede a pending run, X reject, Y
 * supersede or Z follow a running one), '' or the longest delay, and '' or how it is attended, as create() has it; a semicolon, and the kind;
 * then, for each row of drafts of one shape, the shape's number, with a colon and the lengths of their params in bytes behind it where a line ends within those, and of all
 * in one text each their ids as packIds() spells them, and the params, each with a line's end behind it (of one alone without); and per draft, with flag d
 * its due time, with flag t the number of follow-ups and their texts.
 * Out: what beginAlone() answers, or: now; an answer for each draft that was not created (those need no reading back); hints for the one who asks; what was
 * malformed. An answer is one text, because a list of lists takes the client far longer to read: the draft's index in four places,
 * the outcome's number, a digit of which 1 is that the params are the same, 2 that the id of a refreshing run follows and 4 that the next is
 * left out, the id of the run that answers, and its text, which begins with the end of that id; or, where something of that run lies beside its text, a list of the index, the number, the row, the
 * digit's 1 and the refreshing run's id or ''.
 */
export const ADMIT = `
-- Nothing that it did before is to be looked for.
local function isNew(flags) return flags.n and not resent end
${BEGIN_ALONE}
local begun = beginAlone() -- first
if begun then return begun end
own = sub(ARGV[2], 1, 8)
if ARGV[3] ~= '' then ownWant, ownName, ownMember = ARGV[3], ARGV[4], ARGV[2] end
local shapes, answers = {}, {}
local at = 5
while byte(ARGV[at]) == 42 do
  local form = formOf(ARGV[at])
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

-- Outcomes by number: 1 created, 2 joined, 3 hit, 4 stale, 5 negative, 6 rejected.
local function answer(outcome, r, same, refresh, text)
  local row = rowOf(r, text)
  if row[3] then return { 0, outcome, row, same and 1 or 0, refresh or '' } end
  return outcome .. (refresh and (same and '3' or '2') .. refresh or (same and '1' or '0')) .. row[2] .. row[1]
end

local function paramsOf(r)
  if string.find(r@side, 'p', 1, true) then return call('HGET', X .. r@id, 'p') end
  return sub(r@text, r@at, #r@text - r@answer)
end

local function resultOf(r)
  if string.find(r@side, 'r', 1, true) then return call('HGET', X .. r@id, 'r') end
  return sub(r@text, #r@text - r@answer + 1)
end

local function followAtOnce(thens, r)
  if not thens then return end
  local parent = parentOf(r, r@status == 'c' and resultOf(r) or nil)
  for _, follow in ipairs(thens) do fire(follow, r, parent) end
end

-- With replacing its due time becomes the draft's, be it later.
local function merge(shape, r, due, thens, replacing)
  local kind, changed = r@kind, replacing
  if shape.kind.policy[5] > kind.policy[5] then
    local four, rest = match(kind.packed, '^([^,]*,[^,]*,[^,]*,[^,]*,)[^,]*(.*)$')
    r@kind = kindOf(four .. match(shape.kind.packed, '^[^,]*,[^,]*,[^,]*,[^,]*,([^,]*)') .. rest .. kind.after)
    changed = true
  end
  if thens then
    -- Under their ids, so that a repeated command adds none.
    for _, follow in ipairs(thens) do call('HSETNX', X .. r@id, '+' .. follow.id, follow.text) end
    if not string.find(r@side, '+', 1, true) then
      r@side = r@side .. '+'
      changed = true
    end
  end
  if shape.watcher and not string.find(r@watchers, shape.watcher, 1, true) then
    r@watchers = (r@watchers == '' and '' or r@watchers .. ' ') .. shape.watcher
    changed = true
  end
  if r@attend ~= '' then
    local how, ms = match(r@attend, '^.............(%a)(%d+)$')
    if shape.attend then
      local running = how == 'r' and sub(shape.attend, 1, 1) == 'r'
      r@attend = attended(r@id, (running and 'r' or 'p') .. whole(max(tonumber(ms), tonumber(sub(shape.attend, 2)))))
    else
      -- One who wants it kept keeps it for good.
      call('ZREM', T .. 'attended', r@id)
      r@attend = ''
    end
    changed = true
  end
  local wasDue = tonumber(r@due)
  -- A back-off is not cut short: only what has never run comes forward.
  local newDue = tonumber(r@attempt) == 0 and (replacing and due or min(wasDue, due)) or wasDue
  changed = advance(r, newDue, max(tonumber(r@priority), shape.priority)) or changed
  return changed and save(r) or r@text
end

${MEETING}
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
  if r and r@status == 'c' and tonumber(r@usable) > now then
    accepted = r
  elseif r and r@accepted ~= '' then
    local other = read(A .. key .. r@accepted, key .. r@accepted)
    if other and tonumber(other@usable) > now then accepted = other end
  end
  local usable = accepted and not shape.refresh

  local own = r and r@run == run and r or aside and read(aside, id)
  if own then
    if usable and accepted@run ~= run then return answer(4, accepted, true, id) end
    return answer(1, own, true)
  end

  local live = r@status == 'p' or r@status == 'r'
  local remembered = r@status == 'f' and (tonumber(r@remembered) or 0) > now
  local answering = usable and accepted or (live or (remembered and not shape.refresh)) and r or nil
  local same = not answering or not shape.compare or paramsOf(answering) == params
  if not same and shape.reject then
    bump('trejected', 1)
    return answer(6, answering, false)
  end
  local pointer = accepted and accepted@run or nil
  if not answering then
    rename(k, A .. r@id)
    create(shape.kind, id, params, shape.priority, due, shape.watcher, pointer, nil, thens, shape.attend)
    return
  end
  if usable then
    followAtOnce(thens, answering)
    if tonumber(answering@fresh) > now then
      bump('thit', 1)
      return answer(3, answering, same)
    end
    bump('tstale', 1)
    if live or remembered then return answer(4, answering, same, live and r@id or nil) end
    -- A run that refreshes it behind everybody's back, of low priority.
    rename(k, A .. r@id)
    create(shape.kind, id, params, min(shape.priority, ${REFRESH_PRIORITY}), due, nil, pointer)
    return answer(4, answering, same, id)
  end
  if live then return meet(shape, r, id, params, dueAt, thens, pointer, same) end
  followAtOnce(thens, r)
  bump('tnegative', 1)
  return answer(5, r, same)
end

${AT_ONCE}
-- By the draft's place: what stands under its key, its shape, key, run and params, and where in ARGV the rest of it is.
local ks, shapeOf, keys, runs, texts, asides, more = {}, {}, {}, {}, {}, {}, {}
local count, last = 0, #ARGV
while at <= last do
  local number, lines = match(ARGV[at], '^(%d+)(.*)$')
  local shape, spelled, params = shapes[tonumber(number)], ARGV[at + 1], ARGV[at + 2]
  local from = 1
  local lengths = lines ~= '' and string.gmatch(lines, '%d+')
  at = at + 3
  -- Lua reads each text that it makes, byte by byte: what need not be made is left out.
  for place = 1, #spelled, 60 do
    local key, run = sub(spelled, place, place + 42), sub(spelled, place + 44, place + 59)
    count = count + 1
    ks[count], shapeOf[count], keys[count], runs[count], texts[count] = E .. key, shape, key, run, params
    if #spelled > 60 then
      local stop = lengths and from + lengths() or findText(params, '\\n', from, true)
      texts[count], from = sub(params, from, stop - 1), stop + 1
    end
    if not shape.isNew then asides[count] = A .. key .. run end
    if shape.hasDue or shape.hasThen then
      more[count] = at
      if shape.hasDue then at = at + 1 end
      if shape.hasThen then at = at + 1 + tonumber(ARGV[at]) end
    end
  end
end
local standing, news, born = {}, {}, {}
add(function(list, from, to)
  for index, text in ipairs(call('MGET', unpack(list, from, to))) do
    standing[from + index - 1] = text
    if text and byte(text) == ${LETTER.new} then news[#news + 1], born[list[from + index - 1]] = list[from + index - 1], text end
  end
end, ks)
cacheBegun(news, born)
local before = {}
for _, aside in pairs(asides) do before[#before + 1] = aside end
if #before > 0 then fetch(before) end
moveDue()
for index = 1, count do
  local shape, k, run, params, aside = shapeOf[index], ks[index], runs[index], texts[index], asides[index]
  -- What this script has written since is newer, and so is what has begun.
  local text = cache[k]
  if text == nil then text = standing[index] end
  if not text and shape.birth and not (aside and cache[aside]) and #params <= ${INLINE} then
    -- What create() does, for nearly all drafts: a third of its cost.
    bornAs(k, shape.letter .. run .. shape.birth .. params)
    push(shape.lane, keys[index] .. sub(run, 1, 2))
    shape.born = shape.born + 1
  else
    local answer = text and shape.asksOnly and not (aside and cache[aside]) and atOnce(index, shape, run, text)
    if not answer then
      local place, due, thens = more[index]
      if shape.hasDue then
        due = tonumber(ARGV[place])
        place = place + 1
      end
      if shape.hasThen then
        thens = {}
        for then_ = 1, tonumber(ARGV[place]) do thens[then_] = readFollow(ARGV[place + then_]) end
      end
      cache[k] = text
      answer = admit(shape, k, aside, keys[index] .. run, params, due, thens)
      if type(answer) == 'string' then
        answer = place4(index) .. answer
      elseif answer then
        answer[1] = index
      end
    end
    if answer then answers[#answers + 1] = answer end
  end
end
for _, shape in ipairs(shapes) do
  if shape.born > 0 then bump(shape.kind.pending, shape.born) end
end
finish()
return { now, answers, mine, malformed }
`
