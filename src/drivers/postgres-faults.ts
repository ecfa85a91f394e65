// Sorts what goes wrong between here and a PostgreSQL server: what to send again, and what to tell the caller.
import { DeferqError } from '../base/errors.ts'

/**
 * `refused`: nothing was done, and it may be done soon. `lost`: the connection went while the answer was awaited, so it
 * may or may not have been done.
 */
export type Fault = 'refused' | 'lost' | DeferqError

// Nothing was done: a deadlock, a conflict of serializable transactions, a server that starts, stops or is a standby.
const REFUSED = /^(40P01|40001|57P03|25006)$/
// Sent by a server that ends the connection, by one that crashed, or by a pooler that lost its own.
const LOST = /^(08...|57P01|57P02)$/
const FULL: Readonly<Record<string, string>> = {
  '53100': 'has no disk space left',
  '53200': 'has no memory left',
  '53300': 'accepts no more connections',
  '53400': 'has reached a configured limit',
}

export function judge(error: unknown, where: string): Fault {
  if (error instanceof DeferqError) return error
  const { code = '', message, severity } = error as { code?: string; message: string; severity?: string }
  // Only the server speaks of severity; the rest happened on the way to it.
  if (severity === undefined) return 'lost'
  if (REFUSED.test(code)) return 'refused'
  if (LOST.test(code)) return 'lost'
  const say = (what: string): DeferqError =>
    new DeferqError('STORE_UNAVAILABLE', `PostgreSQL at ${where} ${what}`, { cause: error })
  if (code in FULL) {
    return new DeferqError('STORE_FULL', `PostgreSQL at ${where} ${FULL[code]}: ${message}.`, {
      cause: error,
    })
  }
  switch (code) {
    case '28P01':
    case '28000':
      return say(
        `refuses the login (${message}). Check the user and the password in the URL: postgres://user:password@host/database.`,
      )
    case '3D000':
      return say(`has no such database (${message}). Create it, or name another at the end of the URL.`)
    case '42501':
      return say(
        `does not allow this user what is needed (${message}). Grant it, or let a user who may do so open the store once.`,
      )
    case '55P03':
      return say(
        `kept a lock for too long (${message}): another transaction has touched the same keys and has not ended.`,
      )
    case '22021':
    case '22P05':
      return new DeferqError(
        'MALFORMED_VALUE',
        'PostgreSQL stores no text with a NUL character in it: encode it, for example as JSON.',
        { cause: error },
      )
  }
  return say(`refused a statement: ${message}`)
}

export function unavailable(where: string, cause: unknown): DeferqError {
  const { message = '', code = '' } = (cause ?? {}) as { message?: string; code?: string }
  const reason = message || code
  return new DeferqError(
    'STORE_UNAVAILABLE',
    `PostgreSQL at ${where} can’t be reached in time.${reason ? ` Last error: ${reason}.` : ''} Check that it runs and can be reached from here.`,
    cause === undefined ? {} : { cause },
  )
}
