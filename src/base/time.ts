// Durations, the clock, back-off and an abortable sleep: everything that has to do with time.
import { environment } from './environment.ts'
import { DeferqError } from './errors.ts'

/** Milliseconds as a number, or text with its unit: '250ms', '90s', '5m', '1h', '7d', '2w'; as ISO-8601 has it, 'PT1H30M', too. */
export type Duration = number | string

const UNIT_MS: Record<string, number> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}
/** A hundred years: more is a mistake, and would leave the range in which stores keep times exactly. */
export const MAX_DURATION_MS = 3_155_760_000_000

/** Whole milliseconds of a duration; `where` names the option in the error. */
export function durationMs(value: Duration, where: string): number {
  const ms = typeof value === 'number' ? value : parseDuration(value)
  if (typeof ms !== 'number' || !Number.isFinite(ms) || ms < 0 || ms > MAX_DURATION_MS) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where} is ${JSON.stringify(value) ?? String(value)}, which is no duration. ` +
        "Use milliseconds (1500) or text with a unit ('250ms', '90s', '5m', '1h', '7d'), from 0 to 100 years.",
      { details: { option: where } },
    )
  }
  return Math.round(ms)
}

// Years and months have no fixed length, and are left out.
const ISO_DURATION =
  /^P(?=\d|T\d)(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/

function parseDuration(text: unknown): number | undefined {
  if (typeof text !== 'string') return undefined
  const iso = ISO_DURATION.exec(text)
  if (iso !== null) {
    const units = [UNIT_MS.w, UNIT_MS.d, UNIT_MS.h, UNIT_MS.m, UNIT_MS.s] as number[]
    return units.reduce((sum, unit, index) => sum + unit * Number(iso[index + 1] ?? 0), 0)
  }
  const match = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*$/.exec(text)
  if (match === null) return undefined
  return Number(match[1]) * (UNIT_MS[match[2] as string] as number)
}

/** In November 2286: the last that stores keep, thirteen digits long. */
export const LAST_MOMENT_MS = 9_999_999_999_999

/** A moment as epoch milliseconds: a Date, epoch milliseconds, or ISO-8601 text. */
export function momentMs(value: Date | number | string, where: string): number {
  const ms = value instanceof Date ? value.getTime() : typeof value === 'number' ? value : isoMs(value)
  if (!Number.isFinite(ms) || ms < -8_640_000_000_000_000 || ms > LAST_MOMENT_MS) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where} is ${JSON.stringify(value) ?? String(value)}, which is no moment. ` +
        "Use a Date, epoch milliseconds, or ISO-8601 text with a zone ('2026-01-31T08:00:00Z'), until the year 2286.",
      { details: { option: where } },
    )
  }
  return Math.round(ms)
}

// Only ISO text with a zone: Date.parse reads much else, each browser and server in its own way and zone.
const ISO = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/

function isoMs(text: string): number {
  return ISO.test(text) ? Date.parse(text) : Number.NaN
}

/**
 * How long to wait before the next attempt: a fixed duration, a list (the last one repeats), exponential with
 * jitter, or a function of the attempt that has just failed (1 for the first).
 */
export type Backoff =
  | Duration
  | readonly Duration[]
  | ExponentialBackoff
  | ((attempt: number, error: unknown) => Duration)

export interface ExponentialBackoff {
  /** The first wait; doubled (`factor`) each time up to `max`. */
  initial: Duration
  max?: Duration
  factor?: number
  /** The share of each wait that is random, 0 to 1; half by default, so that failures don't return as one herd. */
  jitter?: number
}

export const DEFAULT_BACKOFF: ExponentialBackoff = { initial: 1_000, max: 300_000, factor: 2, jitter: 0.5 }

export function backoffMs(
  backoff: Backoff,
  attempt: number,
  error: unknown,
  random: () => number = environment.random,
): number {
  if (typeof backoff === 'function') return durationMs(backoff(attempt, error), 'backoff()')
  if (typeof backoff === 'number' || typeof backoff === 'string') return durationMs(backoff, 'backoff')
  if (isList(backoff)) {
    const step = backoff[Math.min(attempt, backoff.length) - 1]
    return step === undefined ? 0 : durationMs(step, `backoff[${Math.min(attempt, backoff.length) - 1}]`)
  }
  const initial = durationMs(backoff.initial, 'backoff.initial')
  const max = durationMs(backoff.max ?? (DEFAULT_BACKOFF.max as Duration), 'backoff.max')
  const jitter = backoff.jitter ?? 0.5
  const full = Math.min(max, initial * (backoff.factor ?? 2) ** (attempt - 1))
  return Math.round(full * (1 - jitter) + full * jitter * random())
}

/** Refuses a back-off that could only be found wrong in the worker, after the first failure. */
export function checkBackoff(backoff: Backoff, where: string): void {
  if (typeof backoff === 'function') return
  if (typeof backoff === 'number' || typeof backoff === 'string') return void durationMs(backoff, where)
  if (isList(backoff)) {
    backoff.forEach((step, index) => {
      durationMs(step, `${where}[${index}]`)
    })
    return
  }
  durationMs(backoff?.initial, `${where}.initial`)
  if (backoff.max !== undefined) durationMs(backoff.max, `${where}.max`)
  const { factor = 2, jitter = 0.5 } = backoff
  if (!(factor >= 1 && factor <= 100) || !(jitter >= 0 && jitter <= 1)) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where}: factor must lie between 1 and 100, jitter between 0 and 1.`,
    )
  }
}

function isList(backoff: Backoff): backoff is readonly Duration[] {
  return Array.isArray(backoff)
}

/** A timer of more than 2^31-1 ms would fire at once. */
export const LONGEST_TIMER_MS = 2_147_483_647

/** Resolves after `ms`, or at once when the signal aborts: it never rejects, so that loops stay plain. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const done = (): void => {
      environment.clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = environment.setTimeout(done, Math.min(Math.max(0, ms), LONGEST_TIMER_MS))
    signal?.addEventListener('abort', done, { once: true })
  })
}

/** A signal that aborts after `ms`. Its timer does not keep the process alive. */
export function timeoutSignal(ms: number): AbortSignal {
  const controller = new AbortController()
  const late = (): void => controller.abort(new DOMException(`no end within ${ms} ms`, 'TimeoutError'))
  environment.setTimeout(late, Math.min(ms, LONGEST_TIMER_MS)).unref()
  return controller.signal
}
