// The verbs `settle` and `claim`, one script for both: attempts end, and what is next begins in the same
// step.
import type { AttemptOutcome } from '../../contract/engine.ts'
import { CLAIMING } from './claim.ts'
import { endedPlainly } from './claimed-run.ts'
import { END_ALONE } from './fast-path.ts'
import { followText, shortId } from './ids.ts'
import { LEASE, PLACE } from './lua/layout.ts'

/**
 * In: ARGV 2 how this instance is registered as waiting here, want's name and member in turn, 3 the
 * want as JSON {n: names, q: queues, l: the lease in ms, if runs may be handed over} or '' for none, 4 the limit, a comma and the lease in
 * ms (0: only see whether something is ready), 5 the tokens' prefix, which begins with the instance's address and is also what to
 * register as, 6 the want's short name; then of a row of completions whose text the asking process knows C and how many, the kind, the watchers, the Redis
 * keys of all, and of each the text as it was claimed and the value; of each of the others how it ended (c, f, x cancelled, r and the delay in ms, or l, the due
 * time if that is another, and p if the value is to be its params; then + and the number of drafts, if any), the key's and the run's
 * part of the id, the token, the value, the drafts.
 * Out: what endAlone() answers, or: now; the answers, a letter each (s or l); what was claimed, as in claim.ts, and the tickets; in how many ms something wanted is due, or -1; 1 if
 * something wanted may be ready still; hints for the one who asks; what was malformed.
 */
export const SETTLE = `
local ended = {}

-- A run of this kind that ends now.
local function endsNow(kind)
  local fresh = now + kind.policy[2]
  kind.endsAt = NOW
  kind.ends = NOW .. moment(fresh) .. moment(fresh + kind.policy[3])
end

-- The text of a run that ends as it was claimed: nothing has to be taken apart. Every text that Lua makes costs 0.1 µs; this makes few,
-- and takes a fifth of what settle() does.
local function completed(kind, watchers, text, value)
  local token, from = '', ${PLACE.token}
  if watchers ~= '' then token, from = match(text, '^([^,]+)[^;]*()', from) end
  return 'c' .. sub(text, ${PLACE.run}, ${PLACE.finished - 1}) .. kind.ends .. place4(#value) .. token .. sub(text, from) .. value
end

${END_ALONE}
local times = endAlone() -- first
if times then return times end
own = sub(ARGV[5], 1, 8)
for name, member in string.gmatch(ARGV[2], '(%S+) (%S+)') do call('SREM', IDLE .. name, member) end

local function settle(how, id, token, value, thens)
  local r = find(id)
  if not r or r@status ~= 'r' or r@token ~= token then
    if r and token ~= '' and (r@before == token or (r@token == token and r@status ~= 'r')) then return 's' end
    bump('toutcomesRefused', 1)
    return 'l'
  end
  ended[#ended + 1] = r@k
  freed(r@kind, 1)
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

-- The commonest ends: of runs of one kind, each as it was claimed. Answers a letter each.
local function complete(at, count)
  local kind, watchers = kindOf(ARGV[at + 1]), ARGV[at + 2]
  local usual, place, letters, others, done = kind and kind.policy[6] == 0, at + 3 + count, {}, {}, {}
  if usual and kind.endsAt ~= NOW then endsNow(kind) end
  local held = call('HMGET', LEASES, unpack(ARGV, at + 3, place - 1))
  for index, lease in ipairs(held) do
    if not lease or #lease < ${LEASE.token} then others[#others + 1] = ARGV[at + 2 + index] end
  end
  fetch(others)
  for index, lease in ipairs(held) do
    local k, text, value = ARGV[at + 2 + index], ARGV[place], ARGV[place + 1]
    local same
    if lease and #lease >= ${LEASE.token} then
      -- Its own text has not changed since: of this one the token tells that it is the same, up to the semicolon behind it.
      same = findText(text, sub(lease, ${LEASE.token}), ${PLACE.token}, true) == ${PLACE.token}
    else
      same = cache[k] == text
    end
    if usual and same then
      text = completed(kind, watchers, text, value)
      call('SET', k, text, 'PX', kind.policy.lasts)
      if cache[k] then cache[k] = text end
      for address in string.gmatch(watchers, '%S+') do tell(address, 'e', sub(k, #E + 1) .. runOf(text), text) end
      letters[index], done[#done + 1] = 's', k
    else
      letters[index] = settle('c', sub(k, #E + 1) .. runOf(text), match(text, '^[^,;]*', ${PLACE.token}), value, {})
    end
    place = place + 2
  end
  if #done > 0 then
    -- What is named twice had one lease.
    local count = call('HDEL', LEASES, unpack(done))
    bump(kind.completed, count)
    if kind.group then ran(kind, -count) end
  end
  return table.concat(letters)
end

${CLAIMING}
local keys, answers, at, last = {}, {}, 7, #ARGV
while at <= last do
  local known = tonumber(match(ARGV[at], '^C(%d+)$'))
  if known then
    at = at + 3 + 3 * known
  else
    keys[#keys + 1] = E .. ARGV[at + 1]
    at = at + 5 + tonumber(match(ARGV[at], '%+(%d+)') or 0)
  end
end
fetch(keys)
moveDue()
at = 7
while at <= last do
  local how = ARGV[at]
  local known = tonumber(match(how, '^C(%d+)$'))
  if known then
    answers[#answers + 1] = complete(at, known)
    at = at + 3 + 3 * known
  else
    local kind, count = match(how, '^(.[^+]*)%+?(%d*)$')
    local _, key, run, token, value = unpack(ARGV, at, at + 4)
    local thens = {}
    for then_ = 1, tonumber(count) or 0 do thens[then_] = readFollow(ARGV[at + 4 + then_]) end
    answers[#answers + 1] = settle(kind, key .. run, token, value, thens)
    at = at + 5 + #thens
  end
end
add(function(list, from, to) call('HDEL', LEASES, unpack(list, from, to)) end, ended)
flush()

local want = ARGV[3] ~= '' and readWant(ARGV[3])
if want then
  local limit, lease = match(ARGV[4], '^(%d+),?(%d*)$')
  if limit == '0' then look(want) else claim(want, tonumber(limit), tonumber(lease), ARGV[5]) end
end
finish()
if want and more == 0 then
  register(ARGV[6], ARGV[3], ARGV[5])
  findNextDue(want)
end
return { now, table.concat(answers), rows, tickets, nextDue, more, mine, malformed }
`

/** `tag`: the shard's, with which its Redis keys begin. */
export function outcomeArgs(outcomes: readonly AttemptOutcome[], tag: string): string[] {
  const args: string[] = []
  let row: { kind: string; watchers: string; keys: string[]; rest: string[] } | undefined
  const endRow = (): void => {
    if (row === undefined) return
    args.push(`C${row.keys.length}`, row.kind, row.watchers, ...row.keys, ...row.rest)
    row = undefined
  }
  for (const outcome of outcomes) {
    const run = endedPlainly(outcome)
    const watchers = run?.watchers
    if (run !== undefined && watchers !== undefined && outcome.kind === 'completed') {
      if (run.kind !== row?.kind || watchers !== row.watchers) {
        endRow()
        row = { kind: run.kind, watchers, keys: [], rest: [] }
      }
      row.keys.push(`${tag}e:${run.key}`)
      row.rest.push(run.text, outcome.result)
      continue
    }
    endRow()
    const then = outcome.then ?? []
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
    args.push(how + drafts, id.slice(0, 43), id.slice(43), outcome.token, value)
    for (const draft of then) args.push(followText({ on: 'both', draft }))
  }
  endRow()
  return args
}
