// Sorts what goes wrong between here and a Redis server: what to send again, and what to tell the caller.
import { DeferqError } from '../base/errors.ts'

/**
 * `unknown script`: the server was restarted or is another one. `no functions`: it knows none, or not for this user. `refused for now`: the server did nothing and
 * may do it soon. `lost`: the connection went while the answer was awaited, so it may or may not have been
 * done.
 */
export type Fault = 'unknown script' | 'no functions' | 'refused for now' | 'lost' | DeferqError

export function judge(error: unknown, where: string): Fault {
  const { name, message } = error as Error
  // ioredis adds the whole command, script and params and all, which belongs in no log.
  delete (error as { command?: unknown }).command
  if (/NOSCRIPT|Function not found/.test(message)) return 'unknown script'
  if (/unknown command.*fcall|NOPERM.*fcall/i.test(message)) return 'no functions'
  if (/\bOOM\b/.test(message)) {
    return new DeferqError(
      'STORE_FULL',
      `Redis at ${where} has no memory left: raise maxmemory, shorten retentions, or let workers drain the queue.`,
      { cause: error },
    )
  }
  if (isLoginFault(error)) return loginFault(error, where)
  if (
    /\b(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|BUSY|NOREPLICAS)\b|Cluster redirections|writeable|isn't ready/.test(
      message,
    )
  ) {
    return 'refused for now'
  }
  if (name === 'ReplyError') {
    return new DeferqError('STORE_UNAVAILABLE', `Redis at ${where} refused a command: ${message}`, {
      cause: error,
    })
  }
  return 'lost'
}

export const isLoginFault = (error: unknown): boolean =>
  /\b(NOAUTH|WRONGPASS|NOPERM)\b|invalid (username-)?password|AUTH failed/i.test((error as Error).message)

export function loginFault(error: unknown, where: string): DeferqError {
  return new DeferqError(
    'STORE_UNAVAILABLE',
    `Redis at ${where} refuses the login (${(error as Error).message}). Check the user, the password and the user's ` +
      'rights in the URL: redis://user:password@host.',
    { cause: error },
  )
}

export function unavailable(what: string, where: string, cause: unknown): DeferqError {
  const reason =
    cause instanceof Error && cause.message !== '' ? ` Last error: ${cause.message.replace(/\.$/, '')}.` : ''
  return new DeferqError(
    'STORE_UNAVAILABLE',
    `${what} at ${where}.${reason} Check that Redis runs and can be reached from here.`,
    cause === undefined ? {} : { cause },
  )
}
