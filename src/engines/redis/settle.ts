// The verbs `settle` and `claim`, one script for both: attempts end, and what is next begins in the same
// step.
import type { Outcome } from '../../engine.ts'
import { CLAIMING, KIND_AT } from './claim.ts'
import { followText, packIds, shortId, spread60 } from './ids.ts'
import { INLINE, PLACE } from './lua/entries.ts'

/**
 * In: ARGV 2 how this instance is registered as waiting here, want's name and member in turn, 3 the number of outcomes, 4 the
 * want as JSON {n: names, q: queues, l: the lease in ms, if runs may be handed over} or '' for none, 5 the limit (0: only see
 * whether something is ready), 6 the lease in ms, 7 the tokens' prefix, which begins with the instance's address and is also what to register as, 8 the want's short
 * name; then of a row of plain completions C, in one text their ids as packIds() spells them, and of each in one text the token, a ';' and the value; of each of the others how it ended (c, f, x cancelled, r and the delay in ms, or l, the due
 * time if that is another, and p if the value is to be its params; then + and the number of drafts, if any), the key's and the run's
 * part of the id, the token and a ';', the value, the drafts.
 * Out: now; the answers, a letter each (s or l); what was claimed, as in claim.ts, and its ids as packIds() spells them; in how many ms something wanted is due, or -1; 1 if
 * something wanted may be ready still; hints for the one who asks; what was malformed.
 */
export const SETTLE = `
own = sub(ARGV[7], 1, 8)
for name, member in string.gmatch(ARGV[2], '(%S+) (%S+)') do call('SREM', IDLE .. name, member) end
${KIND_AT}
local ended = {}

-- The commonest end, with nothing unusual about the run but that somebody watches it: its text is changed in three places without
-- being taken apart. Every text that Lua makes costs 0.1 µs, so this takes 1 µs instead of 4. Answers false where settle() has to
-- look more closely.
local function complete(k, key, run, token, value)
  local text = cache[k]
  if not text or #token == 1 or #value > ${INLINE} or string.byte(text, 17) ~= ${'r'.charCodeAt(0)} then return false end
  if string.find(text, run, 1, true) ~= 1 then return false end
  local after, watchers = ${PLACE.token} + #token, nil
  if string.find(text, token, ${PLACE.token}, true) ~= ${PLACE.token} then
    if string.find(text, sub(token, 1, -2) .. ',,,,,', ${PLACE.token}, true) ~= ${PLACE.token} then return false end
    watchers, after = match(text, '^([^,;]+),,,;()', after + 4)
    if not watchers then return false end
  end
  local kind = kindAt(text, after)
  if not kind or kind.policy[6] > 0 then return false end
  if kind.endsAt ~= NOW then
    local fresh = now + kind.policy[2]
    local usable = fresh + kind.policy[3]
    kind.endsAt = NOW
    kind.ends = NOW .. moment(fresh) .. moment(usable)
    kind.lasts = whole(max(fresh + kind.policy[3], now + kind.policy[5], now + 1) - now)
  end
  local until_, from = sub(text, ${PLACE.created}, ${PLACE.finished - 1}), sub(text, watchers and after or ${PLACE.token})
  local attempts = sub(text, ${PLACE.attempt}, ${PLACE.answer - 1})
  if watchers then from = token .. from end
  text = run .. 'c' .. until_ .. kind.ends .. attempts .. place4(#value) .. from .. value
  put(k, text, kind.lasts)
  if watchers then
    for address in string.gmatch(watchers, '%S+') do tell(address, 'e', key .. run, text) end
  end
  ended[#ended + 1] = key .. sub(run, 1, 2)
  freed(kind)
  bump('tcompleted', 1)
  return true
end

local function settle(how, id, token, value, thens)
  local r = find(id)
  if not r or r@status ~= 'r' or r@token ~= token then
    if r and token ~= '' and (r@before == token or (r@token == token and r@status ~= 'r')) then return 's' end
    bump('tlost', 1)
    return 'l'
  end
  ended[#ended + 1] = r@ticket
  freed(r@kind)
  local letter = sub(how, 1, 1)
  if letter == 'c' then
    conclude(r, 'c', value)
  elseif letter == 'f' or letter == 'x' then
    addError(r, value)
    conclude(r, letter)
  else
    bump(r@kind.pending, 1)
    r@status = 'p'
    if letter == 'r' then
      addError(r, value)
      local due = now + tonumber(sub(how, 2))
      r@due = moment(due)
      save(r)
      enqueue(laneOf(r), r@ticket, due)
      bump('tretried', 1)
    else
      r@attempt = place4(r@attempt - 1)
      local due, rewritten = match(how, '^l(%d*)(p?)')
      if rewritten ~= '' then setParams(r, value) end
      if due ~= '' then r@due = moment(max(tonumber(due), tonumber(r@created))) end
      save(r)
      due = tonumber(r@due)
      if due > now then delay(laneOf(r), r@ticket, due) else place(laneOf(r), r@ticket, due) end
    end
  end
  for _, draft in ipairs(thens) do admitFollow(draft) end
  return 's'
end

${CLAIMING}
local starts, keys, answers = {}, {}, {}
-- Of plain completions.
local ownKeys, ownRuns = {}, {}
local at, howMany = 9, tonumber(ARGV[3])
while #starts < howMany do
  local how, index = ARGV[at], #starts + 1
  if how == 'C' then
    local spelled = ARGV[at + 1]
    at = at + 2
    for place = 1, #spelled, 60 do
      local key = sub(spelled, place, place + 42)
      starts[index], keys[index], ownKeys[index], ownRuns[index] = at, E .. key, key, sub(spelled, place + 44, place + 59)
      index, at = index + 1, at + 1
    end
  else
    starts[index], keys[index] = at, E .. ARGV[at + 1]
    at = at + 5 + (#how > 1 and tonumber(match(how, '%+(%d+)')) or 0)
  end
end
fetch(keys)
moveDue()
for index, start in ipairs(starts) do
  local how, key, run, token, value = 'c', ownKeys[index], ownRuns[index], nil, nil
  if key then
    local told = ARGV[start]
    local stop = string.find(told, ';', 1, true)
    token, value = sub(told, 1, stop), sub(told, stop + 1)
  else
    how, key, run, token, value = unpack(ARGV, start, start + 4)
  end
  if how == 'c' and complete(keys[index], key, run, token, value) then
    answers[index] = 's'
  else
    local kind, count = match(how, '^(.[^+]*)%+?(%d*)$')
    local thens = {}
    for then_ = 1, tonumber(count) or 0 do thens[then_] = readFollow(ARGV[start + 4 + then_]) end
    answers[index] = settle(kind, key .. run, sub(token, 1, -2), value, thens)
  end
end
add(function(list, from, to) call('HDEL', LEASES, unpack(list, from, to)) end, ended)
flush()

local want = ARGV[4] ~= '' and readWant(ARGV[4])
if want then
  local limit = tonumber(ARGV[5])
  if limit == 0 then look(want) else claim(want, limit, tonumber(ARGV[6]), ARGV[7]) end
end
finish()
if want and more == 0 then
  register(ARGV[8], ARGV[4], ARGV[7])
  findNextDue(want)
end
return { now, table.concat(answers), rows, table.concat(claimedIds), nextDue, more, mine, malformed }
`

const ID = /^[0-9a-f]{88}$/

export function outcomeArgs(outcomes: readonly Outcome[]): string[] {
  const args: string[] = []
  // Where the ids of a row of plain completions go, and they.
  let row = -1
  let ids = ''
  for (const outcome of outcomes) {
    const then = outcome.then ?? []
    // No token of ours has a ';' in it, and no id is anything else; but who knows what is handed in.
    const isOurs = ID.test(outcome.id) && !outcome.token.includes(';')
    if (outcome.kind === 'completed' && then.length === 0 && isOurs) {
      if (row < 0) row = args.push('C', '') - 1
      ids += spread60(outcome.id)
      args.push(`${outcome.token};${outcome.result}`)
      continue
    }
    if (row >= 0) args[row] = packIds(ids)
    row = -1
    ids = ''
    const drafts = then.length === 0 ? '' : `+${then.length}`
    let how = 'l'
    let value = ''
    if (outcome.kind === 'completed') {
      how = 'c'
      value = outcome.result
    } else if (outcome.kind === 'failed') {
      how = 'f'
      value = outcome.error
    } else if (outcome.kind === 'retry') {
      how = `r${Math.max(0, Math.round(outcome.delayMs))}`
      value = outcome.error
    } else if (outcome.kind === 'cancelled') {
      how = 'x'
      value = outcome.error
    } else {
      const { dueAt, params } = outcome
      how = `l${dueAt === undefined ? '' : Math.max(0, Math.round(dueAt))}${params === undefined ? '' : 'p'}`
      value = params ?? ''
    }
    const id = shortId(outcome.id)
    args.push(how + drafts, id.slice(0, 43), id.slice(43), `${outcome.token};`, value)
    for (const draft of then) args.push(followText({ on: 'both', draft }))
  }
  if (row >= 0) args[row] = packIds(ids)
  return args
}
