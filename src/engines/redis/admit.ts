// The verb `admit`: its script, what goes in, and how the answer is read.
import type { Draft, OutcomeOfAdmit, Standing, Verdict } from '../../engine.ts'
import { REFRESH_PRIORITY } from '../../engine.ts'
import { DeferqError } from '../../errors.ts'
import type { Row } from './ids.ts'
import { extraText, followText, longId, packPolicy, readStanding, shortId } from './ids.ts'
import { PRELUDE } from './lua/prelude.ts'

/**
 * In: ARGV 2 the asking instance's address, 3 the number of kinds, 4 of drafts; then per kind name, queue,
 * priority, policy, extra, flags (r refresh, j join or m reject on mismatch, w watch, d due, t then), delay;
 * then per draft the number of its kind, id, params, with flag d its due time, with flag t the number of
 * follow-ups and their texts.
 * Out: now, one answer per draft, what was malformed. An answer is 1 where the draft was created (it needs no
 * reading back), or the outcome's number, the row of the run that answers, 0 where the params differ, the
 * refreshing run's id or ''.
 */
export const ADMIT = `${PRELUDE}
local address = ARGV[2]
local shapes, answers = {}, {}
local at = 5
for index = 1, tonumber(ARGV[3]) do
  local name, queue, priority, policy, extra, flags = unpack(ARGV, at, at + 5)
  local function flag(letter) return string.find(flags, letter, 1, true) ~= nil end
  shapes[index] = {
    kind = draftKind(name, queue, policy, extra), priority = tonumber(priority), delay = tonumber(ARGV[at + 6]),
    refresh = flag('r'), reject = flag('m'), compare = flag('m') or flag('j'), watcher = flag('w') and address or nil,
    hasDue = flag('d'), hasThen = flag('t'),
  }
  at = at + 7
end

-- Outcomes by number: 1 created, 2 joined, 3 hit, 4 stale, 5 negative, 6 rejected.
local function answer(outcome, r, same, refresh, text)
  return { outcome, rowOf(r, text), same and 1 or 0, refresh or '' }
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

local function merge(shape, r, due, thens)
  local kind, changed = r@kind, false
  if shape.kind.policy[5] > kind.policy[5] then
    r@kind = kindOf(match(kind.packed, '^.*,') .. match(shape.kind.packed, '[^,]*$') .. kind.after)
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
  local wasDue, wasPriority, lane = tonumber(r@due), tonumber(r@priority), laneOf(r)
  -- A back-off is not cut short: only what has never run comes forward.
  local newDue = tonumber(r@attempt) == 0 and min(wasDue, due) or wasDue
  local newPriority = max(wasPriority, shape.priority)
  if newDue ~= wasDue or newPriority ~= wasPriority then
    r@due, r@priority, changed = moment(newDue), place4(newPriority), true
    if r@status == 'p' then
      if call('ZREM', D, r@ticket) == 0 then drop(lane, r@ticket) end
      if newDue > now then delay(laneOf(r), r@ticket, newDue) else place(laneOf(r), r@ticket, newDue) end
    end
  end
  return changed and save(r) or r@text
end

local function admit(shape, id, params, dueAt, thens)
  local key, run = sub(id, 1, 43), sub(id, 44)
  local k, aside = E .. key, A .. id
  local due = max(now, dueAt or now + shape.delay)
  local text = get(k)
  local r = text and read(k, key .. sub(text, 1, 2))
  if not r and not get(aside) then
    create(shape.kind, id, params, shape.priority, due, shape.watcher, nil, nil, thens)
    return 1
  end

  local accepted
  if r and r@status == 'c' and tonumber(r@usable) > now then
    accepted = r
  elseif r and r@accepted ~= '' then
    local other = read(A .. key .. r@accepted, key .. r@accepted)
    if other and tonumber(other@usable) > now then accepted = other end
  end
  local usable = accepted and not shape.refresh

  local own = r and r@run == run and r or read(aside, id)
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
    create(shape.kind, id, params, shape.priority, due, shape.watcher, pointer, nil, thens)
    return 1
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
  if live then
    bump('tjoined', 1)
    return answer(2, r, same, nil, merge(shape, r, due, thens))
  end
  followAtOnce(thens, r)
  bump('tnegative', 1)
  return answer(5, r, same)
end

local drafts, keys = {}, {}
for index = 1, tonumber(ARGV[4]) do
  local shape, id = shapes[tonumber(ARGV[at])], ARGV[at + 1]
  local draft = { shape, id, ARGV[at + 2] }
  drafts[index] = draft
  keys[2 * index - 1], keys[2 * index] = E .. sub(id, 1, 43), A .. id
  at = at + 3
  if shape.hasDue then
    draft[4] = tonumber(ARGV[at])
    at = at + 1
  end
  if shape.hasThen then
    draft[5] = {}
    for then_ = 1, tonumber(ARGV[at]) do draft[5][then_] = readFollow(ARGV[at + then_]) end
    at = at + 1 + #draft[5]
  end
end
fetch(keys)
-- MGET is silent about keys of another type; they would be overwritten. Usually one command says that there
-- are none.
local absent = {}
for _, k in ipairs(keys) do
  if not cache[k] then absent[#absent + 1] = k end
end
local there = 0
add(function(list, from, to) there = there + call('EXISTS', unpack(list, from, to)) end, absent)
if there > 0 then
  for _, k in ipairs(absent) do
    if call('EXISTS', k) == 1 then setAside(k, 'It is no text.') end
  end
end
moveDue()
for index, draft in ipairs(drafts) do
  answers[index] = admit(draft[1], draft[2], draft[3], draft[4], draft[5])
end
finish()
return { now, answers, malformed }
`

/** Its length is stored in four hex digits, and a character may take three bytes. */
const MAX_KIND = 20_000

const OUTCOMES: readonly OutcomeOfAdmit[] = ['created', 'joined', 'hit', 'stale', 'negative', 'rejected']

/**
 * What drafts of one batch have in common is sent once: three arguments a draft instead of ten, and Redis
 * spends about 0.15 µs on each.
 */
export function admitArgs(drafts: readonly Draft[], address: string): string[] {
  const kinds: string[] = []
  const items: string[] = []
  const known = new Map<string, string>()
  let last: Draft | undefined
  let kind = ''
  for (const draft of drafts) {
    if (last === undefined || !alike(last, draft)) {
      const flags =
        (draft.refresh ? 'r' : '') +
        (draft.onMismatch === undefined ? '' : draft.onMismatch === 'join' ? 'j' : 'm') +
        (draft.watch ? 'w' : '') +
        (draft.dueAt === undefined ? '' : 'd') +
        (draft.then === undefined || draft.then.length === 0 ? '' : 't')
      const { name, queue, priority, policy, delayMs } = draft
      const made = [name, queue, `${priority}`, packPolicy(policy), extraText(draft), flags, `${delayMs}`]
      const text = JSON.stringify(made)
      checkKind(draft, text)
      const seen = known.get(text)
      if (seen === undefined) {
        kind = String(known.size + 1)
        known.set(text, kind)
        kinds.push(...made)
      } else {
        kind = seen
      }
      last = draft
    }
    items.push(kind, shortId(draft.id), draft.params)
    if (draft.dueAt !== undefined) items.push(String(draft.dueAt))
    if (draft.then !== undefined && draft.then.length > 0) {
      items.push(String(draft.then.length))
      for (const follow of draft.then) items.push(followText(follow))
    }
  }
  return [address, String(known.size), String(drafts.length)].concat(kinds, items)
}

const alike = (a: Draft, b: Draft): boolean =>
  a.name === b.name &&
  a.queue === b.queue &&
  a.priority === b.priority &&
  a.policy === b.policy &&
  a.extra === b.extra &&
  a.refresh === b.refresh &&
  a.onMismatch === b.onMismatch &&
  a.watch === b.watch &&
  a.delayMs === b.delayMs &&
  (a.dueAt === undefined) === (b.dueAt === undefined) &&
  (a.then === undefined || a.then.length === 0) === (b.then === undefined || b.then.length === 0)

type Answer = 1 | [outcome: number, row: Row, same: number, refresh: string]

export function admitReply(reply: unknown, drafts: readonly Draft[]): Verdict[] {
  const [now, answers] = reply as [number, Answer[]]
  return drafts.map((draft, index) => {
    const answer = answers[index] as Answer
    if (!Array.isArray(answer)) return { outcome: 'created', entry: created(draft, now), sameParams: true }
    const [number, row, same, refresh] = answer
    const verdict: Verdict = {
      outcome: OUTCOMES[number - 1] as OutcomeOfAdmit,
      entry: readStanding(row),
      sameParams: same === 1,
    }
    if (refresh !== '') verdict.refreshId = longId(refresh)
    return verdict
  })
}

function created(draft: Draft, now: number): Standing {
  return {
    id: draft.id,
    name: draft.name,
    queue: draft.queue,
    status: 'pending',
    priority: draft.priority,
    attempt: 0,
    createdAt: now,
    dueAt: Math.max(now, draft.dueAt ?? now + draft.delayMs),
    errors: [],
  }
}

function checkKind({ name }: Draft, text: string): void {
  if (text.length <= MAX_KIND) return
  throw new DeferqError(
    'INVALID_OPTION',
    `The name, queue and options of the task '${name.slice(0, 100)}' are ${text.length} characters long, where ${MAX_KIND} is the most.`,
  )
}
