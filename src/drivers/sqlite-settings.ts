// Reads how a SQLite database is opened: a `sqlite:` URL or a path, and the options beside it.

import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { environment } from '../base/environment.ts'
import { DeferqError, maskUrl } from '../base/errors.ts'

export interface SqliteOptions {
  /** `sqlite:./deferq.db`, `sqlite:/var/lib/deferq.db`, `sqlite::memory:`; may end in `?synchronous=full`. */
  url?: string
  /** A path instead, taken as it is. */
  file?: string
  /** The store's clock: milliseconds since the epoch; `Date.now` by default. */
  now?: () => number
  /** How long a call waits for the other processes' write locks before it gives up: 5 s by default. */
  busyTimeoutMs?: number
  /** `normal` (default) survives a crash of every process, `full` a loss of power too, for one fsync per batch. */
  synchronous?: 'normal' | 'full'
  /** `false` (or `?migrate=off` in the URL) refuses a file that lacks this version's tables, and leaves it unchanged. */
  migrate?: boolean
}

export interface Settings {
  /** Absolute, or ':memory:'. */
  file: string
  now: () => number
  busyTimeoutMs: number
  synchronous: 'normal' | 'full'
  migrate: boolean
}

interface ParsedUrl {
  path: string
  synchronous?: 'normal' | 'full'
  migrate?: boolean
}

export const MEMORY = ':memory:'
const EXAMPLES =
  'Use sqlite:./deferq.db, sqlite:/var/lib/deferq.db or sqlite::memory:, and ?synchronous=full if wanted.'

export function settingsOf(options: SqliteOptions): Settings {
  const { now = environment.now, busyTimeoutMs = 5_000 } = options
  if ((options.url === undefined) === (options.file === undefined)) {
    throw new DeferqError(
      'INVALID_OPTION',
      `A SQLite database is opened with either a url or a file. ${EXAMPLES}`,
    )
  }
  if (!(busyTimeoutMs >= 0 && busyTimeoutMs <= 600_000)) {
    throw new DeferqError(
      'INVALID_OPTION',
      `busyTimeoutMs is ${busyTimeoutMs}: use 0 to 600000 (ten minutes).`,
    )
  }
  const parsed: ParsedUrl =
    options.url === undefined ? { path: options.file as string } : parseUrl(options.url)
  const synchronous = options.synchronous ?? parsed.synchronous ?? 'normal'
  if (synchronous !== 'normal' && synchronous !== 'full') {
    throw new DeferqError('INVALID_OPTION', `synchronous is '${synchronous}': use 'normal' or 'full'.`)
  }
  const migrate = options.migrate ?? parsed.migrate ?? true
  if (typeof migrate !== 'boolean') {
    throw new DeferqError('INVALID_OPTION', `migrate is '${migrate}': use true or false.`)
  }
  if (parsed.path === '')
    throw new DeferqError('INVALID_URL', `The path of the database is empty. ${EXAMPLES}`)
  const file = parsed.path === MEMORY ? MEMORY : resolve(parsed.path)
  return { file, now, busyTimeoutMs, synchronous, migrate }
}

function parseUrl(url: string): ParsedUrl {
  const refuse = (why: string, cause?: unknown): never => {
    throw new DeferqError(
      'INVALID_URL',
      `'${maskUrl(url)}' is no URL of a SQLite database: ${why}. ${EXAMPLES}`,
      {
        cause,
      },
    )
  }
  if (!/^sqlite:/i.test(url)) refuse('it does not begin with sqlite:')
  const [rest = '', ...queries] = url.slice('sqlite:'.length).split('?')
  if (queries.length > 1) refuse('it has more than one ?; write %3F for one in a file name')
  const parsed: ParsedUrl = { path: '' }
  for (const [name, value] of new URLSearchParams(queries[0] ?? '')) {
    if (name === 'migrate') {
      if (value !== 'on' && value !== 'off') refuse(`migrate=${value} is neither on nor off`)
      parsed.migrate = value === 'on'
      continue
    }
    if (name !== 'synchronous') refuse(`it has no option '${name}', only synchronous and migrate`)
    if (value !== 'normal' && value !== 'full') refuse(`synchronous=${value} is neither normal nor full`)
    parsed.synchronous = value as 'normal' | 'full'
  }
  try {
    // sqlite:///var/lib/deferq.db, as other libraries write it, is an absolute path too.
    if (rest.startsWith('///')) parsed.path = fileURLToPath(`file:${rest}`)
    else parsed.path = decodeURIComponent(rest)
  } catch (error) {
    refuse('its path is not percent-encoded correctly', error)
  }
  if (rest.startsWith('//') && !rest.startsWith('///'))
    refuse('it names a host, but SQLite is a file on this machine')
  return parsed
}
