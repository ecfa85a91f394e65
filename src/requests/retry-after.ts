// Reads Retry-After: seconds, or a date in one of the three forms that HTTP knows.
import { environment } from '../base/environment.ts'

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const DAY = '(?:mon|tue|wed|thu|fri|sat|sun)'
const TIME = '(\\d{2}):(\\d{2}):(\\d{2})'
// Sun, 06 Nov 1994 08:49:37 GMT · Sunday, 06-Nov-94 08:49:37 GMT · Sun Nov  6 08:49:37 1994
const FIXED = new RegExp(`^${DAY}, (\\d{2}) ([a-z]{3}) (\\d{4}) ${TIME} gmt$`, 'i')
const OBSOLETE = new RegExp(`^${DAY}[a-z]*, (\\d{2})-([a-z]{3})-(\\d{2}) ${TIME} gmt$`, 'i')
const ASCTIME = new RegExp(`^${DAY} ([a-z]{3}) ([ \\d]\\d) ${TIME} (\\d{4})$`, 'i')

/** Milliseconds from now, 0 for what is past; undefined where there is none that can be read. */
export function retryAfterMs(
  retryAfter: string | undefined,
  date: string | undefined,
  now = environment.now(),
): number | undefined {
  const text = retryAfter?.trim()
  if (text === undefined) return undefined
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000
  const until = httpDateMs(text, now)
  if (until === undefined) return undefined
  // By the clock that wrote it, where that is known: this one may differ.
  return Math.max(0, until - (httpDateMs(date?.trim() ?? '', now) ?? now))
}

export function httpDateMs(text: string, now = environment.now()): number | undefined {
  const fixed = FIXED.exec(text)
  if (fixed !== null) return moment(fixed[3], fixed[2], fixed[1], fixed.slice(4))
  const obsolete = OBSOLETE.exec(text)
  if (obsolete !== null)
    return moment(century(Number(obsolete[3]), now), obsolete[2], obsolete[1], obsolete.slice(4))
  const asctime = ASCTIME.exec(text)
  if (asctime !== null) return moment(asctime[6], asctime[1], asctime[2], asctime.slice(3))
  return undefined
}

/** Two digits that would lie more than fifty years ahead are of the past (RFC 9110, 5.6.7). */
function century(year: number, now: number): number {
  const here = new Date(now).getUTCFullYear()
  const full = here - (here % 100) + year
  return full > here + 50 ? full - 100 : full
}

function moment(
  year: string | number | undefined,
  month: string | undefined,
  day: string | undefined,
  [hours, minutes, seconds]: string[],
): number | undefined {
  const at = MONTHS.indexOf((month ?? '').toLowerCase())
  if (at < 0 || Number(day) < 1 || Number(day) > 31 || Number(hours) > 23 || Number(minutes) > 59)
    return undefined
  // 60 is a leap second.
  return Number(seconds) > 60
    ? undefined
    : Date.UTC(Number(year), at, Number(day), Number(hours), Number(minutes), Number(seconds))
}
