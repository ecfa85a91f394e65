// What an idle instance asks for, one draft or one end by itself: in few commands, and with an answer that is one text, because it is
// what a caller waits for.
import type { Draft, Verdict } from '../../contract/engine.ts'
import { HeldRun } from './claimed-run.ts'
import { created, shapeOf } from './encode-admit.ts'
import { INLINE } from './lua/layout.ts'

/**
 * Defines beginAlone(), for ADMIT: what nearly every draft comes to that is alone and whose own instance waits for it. Nothing stands
 * in its way, and it is written as running at once, as create(), handOver() and give() would do it.
 * Answers the text of the run; or nothing, and nothing is changed then.
 */
export const BEGIN_ALONE = `
local function beginAlone()
  -- It is due now and nothing follows it, or there were more arguments.
  if #ARGV ~= 8 or ARGV[3] == '' then return end
  local member, want, form, id, params = ARGV[2], ARGV[3], formOf(ARGV[5]), ARGV[7], ARGV[8]
  local kind = form.kind
  if not kind or form.delay > 0 or form.most or form.attend or kind.group or kind.policy[1] < 2 or #params > ${INLINE} then return end
  local key, run = sub(id, 1, 43), sub(id, 45)
  local k = E .. key
  -- What they say of what it meets says nothing where it meets none.
  local flags = form.flags
  -- Among the lanes is also what says that something is paused.
  if call('EXISTS', k, LANES, D) > 0 or not isNew(flags) and call('EXISTS', A .. key .. run) > 0 then return end
  if call('SREM', IDLE .. ARGV[4], member) == 0 then return end
  local expiry = now + readWant(want).leaseMs
  local text = 'r' .. run .. NOW .. kind.length .. NOW .. NOW .. place4(1) .. place4(form.priority) .. NEVER .. NEVER
    .. NEVER .. USUAL .. member .. '.h' .. (flags.w and ',,,,,' .. sub(member, 1, 8) .. ',,,;' or ';') .. kind.text .. params
  call('SET', k, text)
  call('HSET', LEASES, k, whole(expiry))
  leaseEnds(expiry)
  call('HINCRBY', COUNTS, kind.running, '1')
  return text
end
`

/**
 * Defines endAlone(), for SETTLE: the end of one run that is as it was claimed, while nothing else is ready or due later, and its
 * instance waits on. Answers when it ended and until when its result is fresh and usable; or nothing, and nothing is changed then.
 */
export const END_ALONE = `
local function endAlone()
  -- One plain end, of one that waits on: for which want, and as nobody yet.
  if #ARGV ~= 12 or ARGV[7] ~= 'C1' or ARGV[3] == '' or ARGV[4] == '0' or ARGV[2] ~= '' then return end
  local kind, watchers, k, text, value = kindOf(ARGV[8]), ARGV[9], ARGV[10], ARGV[11], ARGV[12]
  if not kind or kind.group or kind.policy[6] > 0 or watchers ~= '' and watchers ~= sub(ARGV[5], 1, 8) then return end
  -- What stands there may be no text at all.
  if pcall('GET', k) ~= text or call('EXISTS', LANES, D) > 0 then return end
  if kind.endsAt ~= NOW then endsNow(kind) end
  call('SET', k, completed(kind, watchers, text, value), 'PX', kind.policy.lasts)
  call('HDEL', LEASES, k)
  call('HINCRBY', COUNTS, kind.completed, '1')
  register(ARGV[6], ARGV[3], ARGV[5])
  return kind.ends
end
`

// Where in the arguments of admitArgs() for one draft stand as whom the asking instance waits, and the id.
const MEMBER = 0
const IDS = 5

/** What ADMIT was asked with, and the text that the draft has become. */
export function begunAlone(draft: Draft, args: readonly string[], text: string): [Verdict, HeldRun] {
  const member = args[MEMBER] as string
  const key = (args[IDS] as string).slice(0, 43)
  const watchers = draft.watch ? member.slice(0, 8) : ''
  const run = HeldRun.begun(draft, `${member}.h`, key, text, shapeOf(draft).kind, watchers)
  return [{ outcome: 'created', entry: created(draft, run.entry.createdAt), sameParams: true }, run]
}
