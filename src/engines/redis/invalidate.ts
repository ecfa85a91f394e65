// The verb `invalidate`: results and remembered failures are forgotten, by key or by name.
import type { Selector } from '../../contract/engine.ts'
import { shortKey } from './ids.ts'
import { LEASE } from './lua/layout.ts'

const FORGET = `
-- An ended run keeps its time to live.
local function keep(r)
  local text = compose(r)
  cache[r@k] = text
  call('SET', r@k, text, 'KEEPTTL')
end

local function isUsable(r) return r and r@status == 'c' and tonumber(r@usable) > now end

local function spoil(r)
  r@fresh, r@usable = moment(min(now, tonumber(r@fresh))), NOW
  keep(r)
end

-- Forgets what stands under one key; with a name, only if it is of that name. Answers 1 if something changed.
local function forget(key, name)
  local k = E .. key
  local r = stands(k)
  if not r then return 0 end
  local other = r@accepted ~= '' and read(A .. key .. r@accepted, key .. r@accepted) or nil
  if name and r@kind.name ~= name and not (other and other@kind.name == name) then return 0 end
  local changed, live = 0, r@status == 'p' or r@status == 'r'
  if isUsable(r) then
    spoil(r)
    changed = 1
  end
  if r@accepted ~= '' then
    if isUsable(other) then
      spoil(other)
      changed = 1
    end
    r@accepted = ''
    if live then save(r) else keep(r) end
  end
  if (tonumber(r@remembered) or 0) > now then
    r@remembered = now
    keep(r)
    changed = 1
  end
  if r@status == 'r' then
    -- It goes on for those who wait, aside, and its lease goes with it.
    local held = call('HGET', LEASES, k)
    if held then
      call('HDEL', LEASES, k)
      lease(tonumber(sub(held, 1, ${LEASE.begun - 1})), { A .. r@id, held })
    end
    local behind = r@next
    if behind ~= '' then
      r@next = ''
      save(r)
    end
    rename(k, A .. r@id)
    if behind ~= '' then promote(key, behind, '') end
    changed = 1
  end
  return changed
end
`

/**
 * In: ARGV 2 what to tell everybody, then the keys.
 * Out: how many changed, what was malformed.
 */
export const INVALIDATE_KEYS = `${FORGET}
local changed = 0
for at = 3, #ARGV do changed = changed + forget(ARGV[at]) end
publish('all', ARGV[2])
finish()
return { changed, malformed }
`

/**
 * One step of SCAN, on the node that holds the shard; each key is forgotten in the step that finds it.
 * In: ARGV 2 what to tell everybody with the last step, 3 the name, 4 the cursor, 5 how many keys to look at.
 * Out: the next cursor, how many changed, what was malformed.
 */
export const INVALIDATE_NAME = `${FORGET}
local step = call('SCAN', ARGV[4], 'MATCH', T .. 'e:*', 'COUNT', ARGV[5])
local changed = 0
for _, k in ipairs(step[2]) do changed = changed + forget(sub(k, #T + 3), ARGV[3]) end
if step[1] == '0' then publish('all', ARGV[2]) end
finish()
return { step[1], changed, malformed }
`

export const invalidateArgs = (keys: readonly string[]): string[] => [
  message({ keys }),
  ...keys.map(shortKey),
]

export const invalidateReply = (reply: unknown): number => (reply as [number])[0]

export const invalidateNameArgs = (name: string, cursor: string, count: number): string[] => [
  message({ name }),
  name,
  cursor,
  String(count),
]

const message = (selector: Selector): string => `i${JSON.stringify(selector)}`
