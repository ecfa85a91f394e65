// The verbs `settle` and `claim`, one script for both: attempts end, and what is next begins in the same step.
import { createHash } from 'node:crypto'
import type { Claimed, Outcome, SettleAnswer, Want } from '../../engine.ts'
import type { Row } from './ids.ts'
import { followText, longId, readEntry, shortId } from './ids.ts'
import { PRELUDE } from './lua/prelude.ts'

/** Stale tickets that one call passes over at the most, at 1 µs each. Whoever is stopped by it is told to ask again. */
const MAX_STALE = 5_000
/** How many of the delayed are looked at for the one that is wanted next. */
const MAX_LOOK = 16

/**
 * In: ARGV 2 the instance's address, 3 the number of outcomes, 4 the want as JSON {n: names, q: queues} or '' for none, 5 the limit (0: only see
 * whether something is ready), 6 the lease in ms, 7 the tokens' prefix, 8 the want's short name; 9 the want under which the instance
 * is registered as idle here, or ''; then per outcome its kind (c, f, l, or r and the delay in ms; then + and the
 * number of drafts, if any), id and token in one, value, drafts.
 * Out: now; the answers, a letter each (s or l); the rows of what was claimed;
 * in how many ms something wanted is due, or -1; 1 if something wanted may be ready still; what was malformed.
 */
export const SETTLE = `${PRELUDE}
-- Nothing, but a write that is allowed when the memory is full: with it the whole script is, and a full store can be drained.
call('DEL', T .. 'none')

local ended = {}
local function settle(how, idAndToken, value, thens)
  local id, token = sub(idAndToken, 1, 59), sub(idAndToken, 60)
  local r = find(id)
  if not r or r@status ~= 'r' or r@token ~= token then
    if r and token ~= '' and (r@before == token or (r@token == token and r@status ~= 'r')) then return 's' end
    bump('tlost', 1)
    return 'l'
  end
  ended[#ended + 1] = r@ticket
  bump(r@kind.running, -1)
  local letter = sub(how, 1, 1)
  if letter == 'c' then
    conclude(r, 'c', value)
  elseif letter == 'f' then
    addError(r, value)
    conclude(r, 'f')
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
      save(r)
      place(laneOf(r), r@ticket, tonumber(r@due))
      -- Whoever gives back is not the one to be woken for it.
      if ARGV[9] ~= '' then call('SREM', IDLE .. ARGV[9], ARGV[2]) end
    end
  end
  if thens then
    for _, draft in ipairs(thens) do admitFollow(draft) end
  end
  return 's'
end

local rows, more, nextDue, stale, leases = {}, 0, -1, 0, {}

-- The next ticket of a lane that holds good, in c.row and c.due; the stale ones before it are passed over.
local function head(c, count)
  while stale < ${MAX_STALE} do
    local ticket = c.tickets[c.at]
    if not ticket then
      if c.last then return false end
      c.tickets, c.at = call('LRANGE', c.key, c.taken, c.taken + count - 1), 1
      c.last = #c.tickets < count
      local keys = {}
      for index, one in ipairs(c.tickets) do keys[index] = keyOf(one) end
      fetch(keys)
    else
      local k = keyOf(ticket)
      if cache[k] then
        local r = redeem(ticket)
        if not r then
          -- Stale, or set aside just now.
          if not cache[k] then bump('p' .. c.lane, -1) end
        elseif r@status == 'p' and r@kind.lane == c.lane and tonumber(r@priority) == c.priority then
          c.due = tonumber(r@due)
          if c.due <= now then
            c.row = r
            return true
          end
        end
      elseif call('EXISTS', k) == 1 then
        setAside(k, 'It is no text.')
        bump('p' .. c.lane, -1)
      end
      c.at, c.taken, stale = c.at + 1, c.taken + 1, stale + 1
    end
  end
  return false
end

local function take(c, expiry, tokens)
  local r = c.row
  -- The token before stays known, so that a repeated settle of that attempt is answered as it was.
  if r@token ~= '' then r@before = r@token end
  r@status, r@attempt, r@begun, r@token = 'r', place4(r@attempt + 1), NOW, tokens .. '.' .. #rows
  leases[#leases + 1] = r@ticket
  leases[#leases + 1] = expiry
  rows[#rows + 1] = rowOf(r, save(r))
  c.count, c.at, c.taken = c.count + 1, c.at + 1, c.taken + 1
end

-- In order of priority; several lanes of one priority are merged by due time.
local function claim(want, limit, leaseMs, tokens)
  local lanes = call('ZRANGE', LANES, 0, -1)
  local at, expiry = 1, now + leaseMs
  while at <= #lanes and #rows < limit and stale < ${MAX_STALE} do
    local group, priority = {}, nil
    while at <= #lanes do
      local lane = spelled(lanes[at])
      if priority and lane.priority ~= priority then break end
      priority = lane.priority
      if wants(want, lane) then
        lane.tickets, lane.at, lane.taken, lane.count, lane.last = {}, 1, 0, 0, false
        group[#group + 1] = lane
      end
      at = at + 1
    end
    if #group == 1 then
      local c, count = group[1], limit - #rows
      while #rows < limit and head(c, count) do take(c, expiry, tokens) end
    else
      local heads = {}
      for _, c in ipairs(group) do
        if head(c, 16) then heads[#heads + 1] = c end
      end
      table.sort(heads, function(one, other) return one.due < other.due end)
      while #rows < limit and heads[1] do
        local c = table.remove(heads, 1)
        take(c, expiry, tokens)
        if head(c, 16) then
          local index = 1
          while heads[index] and heads[index].due <= c.due do index = index + 1 end
          table.insert(heads, index, c)
        end
      end
    end
    for _, c in ipairs(group) do
      if c.taken > 0 then
        call('LTRIM', c.key, c.taken, -1)
        if call('EXISTS', c.key) == 0 then call('ZREM', LANES, c.text) end
        bump('p' .. c.lane, -c.count)
        bump('r' .. c.lane, c.count)
        if ready[c.text] then ready[c.text] = max(0, ready[c.text] - c.count) end
      end
    end
  end
  lease(expiry, leases)
  if #rows >= limit or stale >= ${MAX_STALE} then more = 1 end
end

-- Whether something wanted is ready, with nothing taken.
local function look(want)
  for _, lane in ipairs(call('ZRANGE', LANES, 0, -1)) do
    if wants(want, spelled(lane)) then
      more = 1
      return
    end
  end
end

-- When something wanted is due next; if that lies behind many others, then when the last of those is.
local function findNextDue(want)
  local delayed = call('ZRANGE', D, 0, ${MAX_LOOK - 1}, 'WITHSCORES')
  for index = 1, #delayed, 2 do
    nextDue = max(0, tonumber(delayed[index + 1]) - now)
    local r = redeem(delayed[index])
    if r and wants(want, spelled(laneOf(r))) then return end
  end
  if #delayed < ${2 * MAX_LOOK} then nextDue = -1 end
end

local outcomes, keys, answers = {}, {}, {}
local at = 10
for index = 1, tonumber(ARGV[3]) do
  local how, count = match(ARGV[at], '^(.[^+]*)%+?(%d*)$')
  local outcome = { how, ARGV[at + 1], ARGV[at + 2] }
  outcomes[index], keys[index] = outcome, E .. sub(ARGV[at + 1], 1, 43)
  if count ~= '' then
    outcome[4] = {}
    for then_ = 1, tonumber(count) do outcome[4][then_] = readFollow(ARGV[at + 2 + then_]) end
    at = at + #outcome[4]
  end
  at = at + 3
end
fetch(keys)
moveDue()
for index, outcome in ipairs(outcomes) do
  answers[index] = settle(outcome[1], outcome[2], outcome[3], outcome[4])
end
add(function(list, from, to) call('HDEL', LEASES, unpack(list, from, to)) end, ended)
flush()

local want = ARGV[4] ~= '' and readWant(ARGV[4])
if want then
  local limit = tonumber(ARGV[5])
  if limit == 0 then look(want) else claim(want, limit, tonumber(ARGV[6]), ARGV[7]) end
end
finish()
if want then
  local registered, sig = ARGV[9], ARGV[8]
  if registered ~= '' and (more == 1 or registered ~= sig) then call('SREM', IDLE .. registered, ARGV[2]) end
  if more == 0 then
    call('HSET', WANTS, sig, ARGV[4])
    call('SADD', IDLE .. sig, ARGV[2])
    findNextDue(want)
  end
end
return { now, table.concat(answers), rows, nextDue, more, malformed }
`

export function outcomeArgs(outcomes: readonly Outcome[]): string[] {
  const args: string[] = []
  for (const outcome of outcomes) {
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
    }
    args.push(how + drafts, shortId(outcome.id) + outcome.token, value)
    for (const draft of then) args.push(followText({ on: 'both', draft }))
  }
  return args
}

/** A want in the form it is sent in, and a short name by which equal ones find each other. */
export interface SpelledWant {
  text: string
  name: string
}

// A process has one want, or a few: hashing it anew for each claim would cost 3 µs.
const spelledWants = new Map<string, SpelledWant>()

export function spellWant({ names, queues }: Want): SpelledWant {
  const text = JSON.stringify({ n: names, q: queues })
  let spelled = spelledWants.get(text)
  if (spelled === undefined) {
    if (spelledWants.size > 100) spelledWants.clear()
    spelled = { text, name: createHash('sha1').update(text).digest('base64url').slice(0, 10) }
    spelledWants.set(text, spelled)
  }
  return spelled
}

export interface SettleReply {
  answers: SettleAnswer[]
  claimed: Claimed[]
  nextDueMs: number | undefined
  /** Something wanted may be ready still: the limit was reached, or nothing was to be taken. */
  more: boolean
  malformed: string[]
}

export function settleReply(reply: unknown, prefix: string): SettleReply {
  const [, letters, rows, nextDue, more, malformed] = reply as [number, string, Row[], number, number, string[]]
  return {
    answers: Array.from(letters, (letter) => (letter === 's' ? 'settled' : 'lost')),
    claimed: rows.map((row, index) => ({ entry: readEntry(row), token: `${prefix}.${index}` })),
    nextDueMs: nextDue < 0 ? undefined : nextDue,
    more: more === 1,
    malformed,
  }
}

/** What scripts report as malformed, a name and a reason each in turn. */
export function readMalformed(list: unknown): { id: string; reason: string }[] {
  if (!Array.isArray(list)) return []
  const read: { id: string; reason: string }[] = []
  for (let index = 0; index + 1 < list.length; index += 2) {
    read.push({ id: longId(String(list[index])), reason: String(list[index + 1]) })
  }
  return read
}
