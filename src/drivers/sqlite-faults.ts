// Turns SQLite's result codes into DeferqErrors that say what to do about them.
import { DeferqError } from '../base/errors.ts'

// https://sqlite.org/rescode.html; extended codes carry these in their low byte.
const BUSY = 5
const LOCKED = 6
const READONLY = 8
const IOERR = 10
const CORRUPT = 11
const FULL = 13
const CANTOPEN = 14
const NOTADB = 26

export function resultCode(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | null)?.errcode
  return typeof code === 'number' ? code & 0xff : undefined
}

export function isBusy(error: unknown): boolean {
  const code = resultCode(error)
  return code === BUSY || code === LOCKED
}

/** What a caller gets to see; an error that did not come from SQLite is a bug, and passes as it is. */
export function explain(error: unknown, file: string): unknown {
  const code = resultCode(error)
  const { code: driverCode, message } = error as { code?: unknown; message?: string }
  const fromDriver =
    code !== undefined || driverCode === 'ERR_SQLITE_ERROR' || driverCode === 'ERR_INVALID_STATE'
  if (error instanceof DeferqError || !fromDriver) return error
  const store = `The SQLite store ${file}`
  const options = { cause: error, details: { file, sqlite: code } }
  switch (code) {
    case BUSY:
    case LOCKED:
      return new DeferqError(
        'STORE_UNAVAILABLE',
        `${store} was locked by another process for the whole of the wait: look for a long transaction ` +
          '(a backup, an open sqlite3 shell), or raise busyTimeoutMs.',
        options,
      )
    case FULL:
      return new DeferqError(
        'STORE_FULL',
        `${store} is full: its disk or its max_page_count is used up. Nothing was changed. Free some space.`,
        options,
      )
    case READONLY:
      return new DeferqError(
        'STORE_UNAVAILABLE',
        `${store} can't be written to: check the rights of the file and of its folder.`,
        options,
      )
    case CANTOPEN:
      return new DeferqError(
        'STORE_UNAVAILABLE',
        `${store} can't be opened: check that it is a file, and its rights.`,
        options,
      )
    case NOTADB:
      return new DeferqError(
        'STORE_MISMATCH',
        `${store} is no SQLite database: choose another path, or move that file away.`,
        options,
      )
    case CORRUPT:
      return new DeferqError(
        'STORE_UNAVAILABLE',
        `${store} is damaged (${message}): stop its processes, and rescue what is left with \`sqlite3 old.db .recover\`.`,
        options,
      )
    case IOERR:
      return new DeferqError(
        'STORE_UNAVAILABLE',
        `${store} can't be read or written: ${message}. Check its disk.`,
        options,
      )
    default:
      return new DeferqError('STORE_UNAVAILABLE', `${store} refused: ${message}.`, options)
  }
}
