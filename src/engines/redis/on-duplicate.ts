// The parts of the script ADMIT that decide what a draft does to a live run (joins, replaces, supersedes it, or waits behind it), and
// which need not be decided at all.
import { PLACE } from './lua/layout.ts'

/** Defines dueOf() and meet(); answer(), merge() and paramsOf() are ADMIT's. */
export const MEETING = `
-- Due then, of a run that was made at that moment.
local function dueOf(shape, dueAt, made)
  local due = dueAt or now + shape.delay
  return max(now, shape.most and min(due, made + shape.most) or due)
end

local function superseded(r, by)
  return (string.gsub(errorText(SUPERSEDED, r), '@B', hexOf(sub(by, 1, 43)) .. hexOf(sub(by, 44))))
end

local function replace(shape, r, params)
  setParams(r, params)
  local kind, extra = r@kind, shape.kind.extra
  if kind.extra == extra then return end
  r@kind = kindOf(kind.packed .. ';' .. #kind.queue .. ',' .. (extra and #extra or '') .. (kind.group and ',' .. #kind.group or '')
    .. ':' .. kind.queue .. (extra or '') .. (kind.group or '') .. kind.name)
end

-- A live run stands there, and no result answers. Answers nothing where a run was created.
local function meet(shape, r, id, params, dueAt, thens, pointer, same)
  local key, run, how, met = sub(id, 1, 43), sub(id, 44), shape.duplicates, r
  if how then
    local function behind()
      create(shape.kind, id, params, shape.priority, dueOf(shape, dueAt, now), shape.watcher, nil, nil, thens, shape.attend, true)
      local head = read(E .. key, r@ticket)
      head@next = run
      save(head)
    end
    local next = r@next ~= '' and read(A .. key .. r@next, key .. r@next) or nil
    if how.Z and not next and r@status == 'r' then return behind() end
    if how.Z and next then met = next end
    local running = met@status == 'r'
    if running and how.X or not running and how.R then
      bump('trejected', 1)
      return answer(6, met, not shape.compare or paramsOf(met) == params)
    end
    if running and how.Y or not running and how.S then
      if next then cancelRun(next, superseded(next, id)) end
      if met == next then return behind() end
      r = read(E .. key, r@ticket)
      cancelRun(r, superseded(r, id))
      rename(E .. key, A .. r@id)
      create(shape.kind, id, params, shape.priority, dueOf(shape, dueAt, now), shape.watcher, pointer, nil, thens, shape.attend)
      return
    end
    if not running and how.P then
      replace(shape, met, params)
      bump('tjoined', 1)
      return answer(2, met, true, nil, merge(shape, met, dueOf(shape, dueAt, tonumber(met@created)), thens, true))
    end
    if met ~= r then same = not shape.compare or paramsOf(met) == params end
  end
  bump('tjoined', 1)
  return answer(2, met, same, nil, merge(shape, met, dueOf(shape, dueAt, tonumber(met@created)), thens))
end
`

/** Defines atOnce(). */
export const AT_ONCE = `
-- What admit() answers for nearly all drafts that find something, without taking its text apart: a fresh result, or a run that waits
-- and would not change. Half of their cost.
local function atOnce(index, shape, run, text)
  local letter = sub(text, 1, 1)
  if runOf(text) == run then return end
  if letter == 'c' then
    local fresh, stop = tonumber(sub(text, ${PLACE.fresh}, ${PLACE.fresh + 12})), string.find(text, ';', ${PLACE.token}, true)
    if not fresh or fresh <= now or not stop or (string.find(text, ',', ${PLACE.token}, true) or 0) < stop then return end
    if not kinds[sub(text, stop + 1, stop + (tonumber(sub(text, ${PLACE.length}, ${PLACE.length + 3}), 16) or 0))] then return end
    bump('thit', 1)
    return place4(index) .. '35' .. text
  elseif letter == 'n' and shape.changesNothing and sub(text, ${PLACE.length}, ${PLACE.head - 1} + #shape.kind.text) == shape.kind.length .. shape.kind.text then
    bump('tjoined', 1)
    return place4(index) .. '25' .. text
  end
end
`
