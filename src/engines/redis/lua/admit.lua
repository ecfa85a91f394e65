-- The verb admit: drafts become runs, or meet what stands under their keys.
--
-- KEYS 1  the shard's tag, with which each of its keys begins             {deferq:0}
-- ARGV 1  whether PUBLISH counts who heard it: 1, or 0 on a cluster;       1
--         with a + where the same call may have been done already
--      2  as whom the asking instance waits itself for the drafts          Aq3kPz1xYw0c9.t4
--         (its address first), or its address alone
--      3  the want for which it waits, or ''                               {"n":["job"],"l":30000}
--      4  the name of that want, or ''                                     b64hash30000
--      5… the shapes: an asterisk; priority, delay, flags, the longest     *0,0,nw,,;3,2s,,,2s:job
--         delay or '', how it is attended or ''; a semicolon; the kind
--      then for each row of drafts of one shape:
--      +0 the number of the shape, and after a colon the lengths of the    1  or  1:14,22
--         params in bytes, where one of several has a line's end in it
--      +1 the ids, 60 characters each: key 43, one unused, run 16          k3Fh…A9s2…
--      +2 the params, each with a line's end behind it; of one alone without   {"n":1}
--      then per draft: with flag d the due time; with flag t the number of follow-ups, and their texts
-- Flags: r refresh, j join or m reject on mismatch, w watch, d due, t then, n new; of a duplicate R reject, P replace or S supersede a
-- pending run, X reject, Y supersede or Z follow a running one.
--
-- Answers what beginAlone() does, or a list:
--      1  now                                                              1796086408123
--      2  an answer for each draft that was not created, as answer() and atOnce() spell it   000135k3Fh…
--      3  news for the one who asks
--      4  names and reasons in turn of what was malformed
--- @include "shared/admit-alone.lua"
--- @include "shared/admit-batch.lua"
--- @include "shared/admit-meeting.lua"
--- @include "shared/admit-draft.lua"

local function verb(argv)
  local begun = beginAlone(argv)
  if begun then return begun end
  reset()
  own = sub(argv[2], 1, 8)
  if argv[3] ~= '' then ownWant, ownName, ownMember = argv[3], argv[4], argv[2] end
  local shapes, first = shapesOf(argv)
  local ks, shapeOf, keys, runs, texts, asides, more = draftsOf(argv, first, shapes)
  local answers = {}
  local standing = {}
  add(function(list, from, to)
    for index, text in ipairs(call('MGET', unpack(list, from, to))) do standing[from + index - 1] = text end
  end, ks)
  local before = {}
  for _, aside in pairs(asides) do before[#before + 1] = aside end
  if #before > 0 then fetch(before) end
  moveDue()
  for index = 1, #ks do
    local shape, k, run, params, aside = shapeOf[index], ks[index], runs[index], texts[index], asides[index]
    -- A text that this call has written since is newer.
    local text = cache[k]
    if text == nil then text = standing[index] end
    if not text and shape.birth and not (aside and cache[aside]) and #params <= INLINE then
      -- As create() does, at a third of its cost: nearly all drafts come here.
      bornAs(k, shape.letter .. run .. shape.birth .. params)
      push(shape.lane, keys[index] .. sub(run, 1, 2))
      shape.born = shape.born + 1
    else
      local answer = text and shape.asksOnly and not (aside and cache[aside]) and atOnce(index, shape, run, text)
      if not answer then
        local place, due, thens = more[index]
        if shape.hasDue then
          due = tonumber(argv[place])
          place = place + 1
        end
        if shape.hasThen then
          thens = {}
          for then_ = 1, tonumber(argv[place]) do thens[then_] = readFollow(argv[place + then_]) end
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
end
