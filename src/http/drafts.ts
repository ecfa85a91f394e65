// Drafts that come from outside, looked at member by member before any of them is believed.

import { DeferqError } from '../base/errors.ts'
import { MAX_DURATION_MS } from '../base/time.ts'
import type { Draft, FollowUp, Policy } from '../contract/engine.ts'
import { MAX_PRIORITY } from '../contract/engine.ts'
import { checkName, checkWhole } from '../tasks/check-options.ts'
import { decode } from '../values/decode.ts'
import { isId } from '../values/fingerprint.ts'
import type { Limits } from '../values/limits.ts'
import { LIMITS } from '../values/limits.ts'
import { Refusal } from './call.ts'
import type { Gate } from './exposed-engine.ts'
import { recordOf } from './parse-request.ts'

/** As many callbacks as anybody chains; each lies within the one before it. */
const DEEPEST_CHAIN = 20
const LONGEST_EXTRA = 4_000
const LATEST = 8_640_000_000_000_000
const MEMBERS = [
  'id',
  'name',
  'queue',
  'params',
  'priority',
  'policy',
  'delayMs',
  'dueAt',
  'extra',
  'refresh',
  'onMismatch',
  'onDuplicate',
  'maxDelayMs',
  'attended',
  'group',
  'then',
]
const POLICY = ['maxAttempts', 'resultTtlMs', 'staleTtlMs', 'failureTtlMs', 'retentionMs', 'everyMs']

type Check = (value: unknown, where: string) => unknown

const whole =
  (least: number, most: number): Check =>
  (value, where) => {
    checkWhole(value, least, most, where)
    return value
  }
const ms = whole(0, MAX_DURATION_MS)
const flag: Check = (value, where) => oneOf([true, false])(value, where)
const oneOf =
  (known: readonly unknown[]): Check =>
  (value, where) => {
    if (known.includes(value)) return value
    throw new Refusal(422, `${where} must be one of ${known.map((each) => JSON.stringify(each)).join(', ')}.`)
  }
const text =
  (longest: number): Check =>
  (value, where) => {
    if (typeof value === 'string' && value.length <= longest && value.isWellFormed()) return value
    throw new Refusal(422, `${where} must be text of at most ${longest} characters.`)
  }

/** With the tasks' own names in place of those of the outside. */
export function draftOf(value: unknown, gate: Gate, limits: Partial<Limits> | undefined, depth = 0): Draft {
  const where = depth === 0 ? 'a draft' : 'the draft of a follow-up'
  const given = recordOf(value, MEMBERS, where)
  const { queue, params } = given
  checkName(queue, `${where}: queue`)
  checkWhole(given.priority, -MAX_PRIORITY, MAX_PRIORITY, `${where}: priority`)
  const draft: Record<string, unknown> = {
    id: idOf(given.id, `${where}: id`),
    name: gate.named(given.name),
    queue,
    params: textOf(params, limits),
    priority: given.priority,
    policy: policyOf(given.policy, `${where}: policy`),
    delayMs: ms(given.delayMs, `${where}: delayMs`),
  }
  const optional: Record<string, Check> = {
    dueAt: whole(-LATEST, LATEST),
    extra: text(LONGEST_EXTRA),
    refresh: flag,
    onMismatch: oneOf(['join', 'reject']),
    maxDelayMs: ms,
    group: text(200),
    onDuplicate: (found, at) =>
      membersBy(found, at, {
        pending: oneOf(['reject', 'replace', 'supersede']),
        running: oneOf(['reject', 'supersede', 'rerunAfter']),
      }),
    attended: (found, at) => membersBy(found, at, { ms, running: flag }),
    then: (found) => followUpsOf(found, gate, limits, depth),
  }
  for (const [member, check] of Object.entries(optional))
    if (given[member] !== undefined) draft[member] = check(given[member], `${where}: ${member}`)
  return draft as unknown as Draft
}

export function idOf(id: unknown, where: string): string {
  if (isId(id)) return id
  throw new DeferqError('INVALID_ID', `${where} must be an id: 88 hexadecimal characters.`)
}

/** Params as they are stored, bounded as those are that are given here. */
export function textOf(params: unknown, limits: Partial<Limits> | undefined): string {
  const most = limits?.bytes ?? LIMITS.params.bytes
  if (typeof params !== 'string') throw new Refusal(422, 'params must be the text of a value.')
  const bytes = Buffer.byteLength(params)
  if (bytes > most) {
    throw new DeferqError(
      'PARAMS_TOO_LARGE',
      `params is too large: ${bytes} bytes, over the limit of ${most}.`,
      {
        details: { size: bytes, unit: 'bytes', limit: most },
      },
    )
  }
  try {
    decode(params)
  } catch {
    throw new Refusal(422, 'params is not the text of a value.')
  }
  return params
}

function policyOf(value: unknown, where: string): Policy {
  const given = recordOf(value, POLICY, where)
  const { everyMs, maxAttempts, ...rest } = given
  checkWhole(maxAttempts, 1, 1_000_000, `${where}.maxAttempts`)
  const policy: Record<string, unknown> = { maxAttempts }
  for (const member of POLICY.slice(1, -1)) policy[member] = ms(rest[member], `${where}.${member}`)
  if (everyMs !== undefined) policy.everyMs = ms(everyMs, `${where}.everyMs`)
  return policy as unknown as Policy
}

function membersBy(value: unknown, where: string, checks: Record<string, Check>): object {
  const given = recordOf(value, Object.keys(checks), where)
  return Object.fromEntries(
    Object.entries(given).map(([member, each]) => [
      member,
      (checks[member] as Check)(each, `${where}.${member}`),
    ]),
  )
}

function followUpsOf(
  value: unknown,
  gate: Gate,
  limits: Partial<Limits> | undefined,
  depth: number,
): FollowUp[] {
  if (!Array.isArray(value) || value.length > 100 || depth >= DEEPEST_CHAIN)
    throw new Refusal(422, `then must be a list of at most 100 follow-ups, ${DEEPEST_CHAIN} deep.`)
  return value.map((each: unknown) => {
    const { on, draft, sameParent } = recordOf(each, ['on', 'draft', 'sameParent'], 'a follow-up')
    const followUp = {
      on: oneOf(['success', 'failure', 'both'])(on, 'on'),
      draft: draftOf(draft, gate, limits, depth + 1),
    }
    return (sameParent === true ? { ...followUp, sameParent } : followUp) as FollowUp
  })
}
