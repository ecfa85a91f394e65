// What the options about duplicates, abandoned runs and limits must look like.
import { DeferqError } from '../base/errors.ts'
import { durationMs } from '../base/time.ts'

const PENDING = ['join', 'reject', 'replace', 'supersede']
const RUNNING = ['join', 'reject', 'supersede', 'rerunAfter']
const ABANDONED = ['keep', 'cancelPending', 'cancel']
// Whoever waits asks once a second; a third of this may be lost without harm.
const LEAST_GRACE_MS = 3_000
// What began within the stretch is remembered one by one.
const MOST_BEGUN = 10_000

type Members = Record<string, unknown>

export function checkDebounce(value: unknown, at: string): void {
  const { wait, maxWait } = membersOf(value, at, ['wait', 'maxWait'], "{ wait: '5s', maxWait: '1m' }")
  const waitMs = durationMs(wait as never, `${at}.wait`)
  if (maxWait !== undefined && durationMs(maxWait as never, `${at}.maxWait`) < waitMs)
    throw refused(
      `${at}.maxWait is shorter than ${at}.wait: it is the longest that a burst may put the run off.`,
    )
}

export function checkThrottle(value: unknown, at: string): void {
  const { every } = membersOf(value, at, ['every'], "{ every: '1m' }")
  if (durationMs(every as never, `${at}.every`) === 0) throw refused(`${at}.every must be longer than 0.`)
}

export function checkOnDuplicate(value: unknown, at: string): void {
  const rules = membersOf(value, at, ['pending', 'running'], "{ pending: 'replace', running: 'rerunAfter' }")
  checkOneOf(rules.pending ?? 'join', PENDING, `${at}.pending`)
  checkOneOf(rules.running ?? 'join', RUNNING, `${at}.running`)
}

export function checkOnAbandoned(value: unknown, at: string): void {
  if (typeof value !== 'object' || value === null) {
    checkOneOf(value, ABANDONED, at)
    return
  }
  const { then, grace } = membersOf(value, at, ['then', 'grace'], "{ then: 'cancel', grace: '30s' }")
  checkOneOf(then, ABANDONED, `${at}.then`)
  if (grace !== undefined && durationMs(grace as never, `${at}.grace`) < LEAST_GRACE_MS)
    throw refused(`${at}.grace must be at least 3 s: those who wait ask once a second.`)
}

export function checkRateLimit(value: unknown, at: string): void {
  const { max, per, by } = membersOf(value, at, ['max', 'per', 'by'], "{ max: 100, per: '1m', by: 'tenant' }")
  checkCount(max, MOST_BEGUN, `${at}.max`)
  if (durationMs(per as never, `${at}.per`) === 0) throw refused(`${at}.per must be longer than 0.`)
  checkBy(by, at)
}

export function checkConcurrency(value: unknown, at: string): void {
  const { limit, by } = membersOf(value, at, ['limit', 'by'], "{ limit: 2, by: 'tenant' }")
  checkCount(limit, 1_000_000, `${at}.limit`)
  checkBy(by, at)
}

/** Options that exclude each other where they stand together. */
export function checkTogether(options: Members, where: string): void {
  const { debounce, concurrency, rateLimit } = options
  for (const other of ['delay', 'runAt', 'onDuplicate', 'throttle', 'onMismatch'] as const) {
    if (debounce !== undefined && options[other] !== undefined)
      throw refused(
        `${where}: debounce and ${other} exclude each other: debounce decides when and with which params the run begins.`,
      )
  }
  const [one, two] = [(concurrency as Members | undefined)?.by, (rateLimit as Members | undefined)?.by]
  if (concurrency !== undefined && rateLimit !== undefined && one !== two)
    throw refused(
      `${where}: concurrency and rateLimit must go by the same: give both the same 'by', or neither.`,
    )
}

function membersOf(value: unknown, at: string, known: string[], example: string): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw refused(`${at} must be an object such as ${example}, and is ${String(value)}.`)
  for (const member of Object.keys(value)) {
    if (!known.includes(member))
      throw refused(`${at} has no '${member}'. Known: ${known.join(', ')}, as in ${example}.`)
  }
  return value as Members
}

function checkOneOf(value: unknown, known: string[], at: string): void {
  if (!known.includes(value as string))
    throw refused(`${at} is '${String(value)}': use ${known.map((each) => `'${each}'`).join(', ')}.`)
}

function checkCount(value: unknown, most: number, at: string): void {
  if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > most)
    throw refused(`${at} must be a whole number from 1 to ${most}, and is ${String(value)}.`)
}

function checkBy(by: unknown, at: string): void {
  if (by === undefined || typeof by === 'function' || (typeof by === 'string' && by !== '')) return
  throw refused(`${at}.by must name a property of the params ('tenant', 'user.id') or be a function of them.`)
}

const refused = (message: string): DeferqError => new DeferqError('INVALID_OPTION', message)
