// When a schedule's occurrences are: a cron expression in a time zone, or a fixed interval.

import type { Cron } from 'croner'
import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import type { Duration } from '../base/time.ts'
import { durationMs } from '../base/time.ts'

export type Timing = { cron: string; timezone: string } | { everyMs: number }

/** What a timing answers; the moments that it is asked about are always the store's. */
export interface Clock {
  /** The first occurrence after this moment. */
  after(at: number): number
  /** Those after `since` and up to `until`, in their order: the last `most` of them. */
  within(since: number, until: number, most: number): number[]
  /** From here on the same occurrences follow after `until` as from `since` on. */
  forward(since: number, until: number): number
}

const LEAST_MS = 1_000
const MAX_CRON = 200
/** Parsing costs far more than a tick; the same few timings come up again and again. */
const parsed = new Map<string, Cron>()
const MAX_PARSED = 1_000

/** What somebody wrote, checked; `where` names the schedule in the error. */
export async function timingOf(
  { cron, every, timezone }: { cron?: string; every?: Duration; timezone?: string },
  where: string,
): Promise<Timing> {
  if ((cron === undefined) === (every === undefined)) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where} needs either cron ('0 3 * * *') or every ('15m')${cron === undefined ? '.' : ', not both.'}`,
    )
  }
  if (every !== undefined) {
    if (timezone !== undefined)
      throw new DeferqError(
        'INVALID_OPTION',
        `${where}: timezone belongs to cron; every ignores the calendar.`,
      )
    const everyMs = durationMs(every, `${where}: every`)
    if (everyMs < LEAST_MS) {
      throw new DeferqError(
        'INVALID_OPTION',
        `${where}: every is ${JSON.stringify(every)}, and must be at least a second ('1s').`,
        { details: { option: 'every' } },
      )
    }
    return { everyMs }
  }
  const timing = { cron: String(cron).trim().replace(/\s+/g, ' '), timezone: timezone ?? 'UTC' }
  checkZone(timing.timezone, where)
  await checkCron(timing, where)
  return timing
}

export async function clockOf(timing: Timing): Promise<Clock> {
  return 'cron' in timing ? byCron(await cronOf(timing)) : byInterval(timing.everyMs)
}

/** The first occurrence is one interval after the beginning. */
const byInterval = (everyMs: number): Clock => ({
  after: (at) => at + everyMs,
  within(since, until, most) {
    const last = Math.floor((until - since) / everyMs)
    const first = Math.max(1, last - most + 1)
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => since + (first + i) * everyMs)
  },
  forward: (since, until) => since + Math.max(0, Math.floor((until - since) / everyMs)) * everyMs,
})

const byCron = (cron: Cron): Clock => ({
  after: (at) => next(cron, at),
  within(since, until, most) {
    // At most one a second: of a long time only the end is looked at, further back until there are enough.
    for (let back = (most + 1) * 1_000; ; back *= 2) {
      const from = Math.max(since, until - back)
      const found: number[] = []
      for (let at = next(cron, from); at <= until; at = next(cron, at)) found.push(at)
      if (found.length >= most || from === since) return found.slice(-most)
    }
  },
  forward: (_since, until) => until,
})

function next(cron: Cron, after: number): number {
  const found = cron.nextRun(new Date(after))
  return found === null ? Number.POSITIVE_INFINITY : found.getTime()
}

async function cronOf({ cron, timezone }: { cron: string; timezone: string }): Promise<Cron> {
  const name = `${timezone} ${cron}`
  const known = parsed.get(name)
  if (known !== undefined) return known
  const croner = await import('croner')
  // Whatever hour is named takes place once a day, also on the days on which clocks change.
  const made = new croner.Cron(cron, {
    timezone,
    mode: '5-or-6-parts',
    fixedTimeRule: 'no-wildcard',
    paused: true,
  })
  if (parsed.size >= MAX_PARSED) parsed.clear()
  parsed.set(name, made)
  return made
}

async function checkCron(timing: { cron: string; timezone: string }, where: string): Promise<void> {
  const refuse = (why: string, cause?: unknown): never => {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where}: cron is '${timing.cron.slice(0, MAX_CRON)}', ${why}. ` +
        "Use minute, hour, day of month, month and day of week ('30 3 * * 1-5'), a field for seconds before them if need be, or '@daily'.",
      { cause, details: { option: 'cron' } },
    )
  }
  if (timing.cron.length > MAX_CRON) refuse(`longer than ${MAX_CRON} characters`)
  // croner takes a date too, which occurs once.
  if (!timing.cron.startsWith('@') && !/^\S+( \S+){4,5}$/.test(timing.cron))
    refuse('which has not five or six fields')
  const cron = await cronOf(timing).catch((error: unknown) =>
    refuse(`which can't be read (${(error as Error).message.replace(/^\w+: /, '')})`, error),
  )
  if (!Number.isFinite(next(cron, environment.now()))) refuse('which never comes: there is no such day')
}

function checkZone(timezone: unknown, where: string): void {
  try {
    if (typeof timezone !== 'string') throw new TypeError('no text')
    new Intl.DateTimeFormat('en', { timeZone: timezone })
  } catch (cause) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where}: timezone is ${JSON.stringify(timezone)}, which is not known here. Use an IANA name ('Europe/Berlin', 'UTC').`,
      { cause, details: { option: 'timezone' } },
    )
  }
}
