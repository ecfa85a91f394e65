// The verbs `settle` and `claim`, one script for both: attempts end, and what is next begins in the same step.
import { createHash } from 'node:crypto'
import type { Claimed, Outcome, SettleAnswer, Want } from '../../engine.ts'
import type { Row } from './ids.ts'
import { followText, longId, readEntry, shortId } from './ids.ts'
import { INLINE } from './lua/entries.ts'
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

-- The commonest end, with nothing unusual about the run: its text is changed in three places without being taken apart, which
-- takes 1 µs instead of 4. Answers false where settle() has to look more closely.
local function complete(id, token, value)
  local k = E .. sub(id, 1, 43)
  local text = get(k)
  if not text or token == '' or #value > ${INLINE} then return false end
  if sub(text, 1, 17) ~= sub(id, 44) .. 'r' or sub(text, 109, 109 + #token) ~= token .. ';' then return false end
  local at = 110 + #token
  local kind = kindOf(sub(text, at, at - 1 + sub(text, 31, 35)))
  if not kind then return false end
  if not kind.ends then
    local fresh = now + kind.policy[2]
    local usable = fresh + kind.policy[3]
    kind.ends = NOW .. moment(fresh) .. moment(usable)
    kind.expires = whole(max(usable, now + kind.policy[5], now + 1))
  end
  put(k, sub(text, 1, 16) .. 'c' .. sub(text, 18, 61) .. kind.ends .. sub(text, 101) .. value, kind.expires)
  ended[#ended + 1] = sub(id, 1, 45)
  bump(kind.running, -1)
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
  for _, draft in ipairs(thens) do admitFollow(draft) end
  return 's'
end

local rows, more, nextDue, stale, leases = {}, 0, -1, 0, {}

-- The next ticket of a lane that holds good, in c.k, c.due, and c.row or (of a new run) c.text; the stale ones before it are passed over.
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
      local text = cache[k]
      if text then
        -- A new run has nothing unusual: as with complete(), there is no need to take it apart.
        if c.priority == 0 and sub(text, 17, 17) == 'n' and sub(text, 1, 2) == sub(ticket, 44) then
          local kind = kindOf(sub(text, 36, 35 + (tonumber(sub(text, 31, 35)) or 0)))
          c.due = tonumber(sub(text, 18, 30))
          if kind and kind.lane == c.lane and c.due and c.due <= now then
            c.k, c.text, c.row = k, text, nil
            return true
          end
        end
        local r = redeem(ticket)
        if not r then
          -- Stale, or set aside just now.
          if not cache[k] then bump('p' .. c.lane, -1) end
        elseif r@status == 'p' and r@kind.lane == c.lane and tonumber(r@priority) == c.priority then
          c.due = tonumber(r@due)
          if c.due <= now then
            c.k, c.row = k, r
            return true
          end
          -- Retried since, or the clock went back: its time is yet to come.
          call('ZADD', D, c.due, ticket)
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

local FIRST = NOW .. NEVER .. NEVER .. NEVER .. place4(1) .. USUAL

local function take(c, expiry, tokens)
  local r, ticket, row = c.row, c.tickets[c.at], nil
  local token = tokens .. '.' .. #rows
  if r then
    -- The token before stays known, so that a repeated settle of that attempt is answered as it was.
    if r@token ~= '' then r@before = r@token end
    r@status, r@attempt, r@begun, r@token = 'r', place4(r@attempt + 1), NOW, token
    row = rowOf(r, save(r))
  else
    local text = c.text
    text = sub(text, 1, 16) .. 'r' .. sub(text, 18, 35) .. sub(text, 18, 30) .. FIRST .. token .. ';' .. sub(text, 36)
    put(c.k, text)
    row = { text, sub(ticket, 1, 43) .. sub(text, 1, 16) }
  end
  local count = #rows
  rows[count + 1], leases[2 * count + 1], leases[2 * count + 2] = row, ticket, expiry
  c.count, c.at, c.taken = c.count + 1, c.at + 1, c.taken + 1
end

-- In order of priority; several lanes of one priority are merged by due time.
local function claim(want, limit, leaseMs, tokens)
  local lanes = call('ZRANGE', LANES, 0, -1)
  local at, expiry = 1, whole(now + leaseMs)
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
  lease(now + leaseMs, leases)
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

local starts, keys, answers = {}, {}, {}
local at = 10
for index = 1, tonumber(ARGV[3]) do
  starts[index], keys[index] = at, E .. sub(ARGV[at + 1], 1, 43)
  at = at + 3 + (tonumber(match(ARGV[at], '%+(%d+)')) or 0)
end
fetch(keys)
moveDue()
for index, start in ipairs(starts) do
  local how, value = ARGV[start], ARGV[start + 2]
  local id, token = sub(ARGV[start + 1], 1, 59), sub(ARGV[start + 1], 60)
  if how == 'c' and complete(id, token, value) then
    answers[index] = 's'
  else
    local kind, count = match(how, '^(.[^+]*)%+?(%d*)$')
    local thens = {}
    for then_ = 1, tonumber(count) or 0 do thens[then_] = readFollow(ARGV[start + 2 + then_]) end
    answers[index] = settle(kind, id, token, value, thens)
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
  const [, letters, rows, nextDue, more, malformed] = reply as [
    number,
    string,
    Row[],
    number,
    number,
    string[],
  ]
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
