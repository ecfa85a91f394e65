// Says what went wrong between here and a RabbitMQ broker, and what to do about it.
import { DeferqError, isDeferqError } from '../../base/errors.ts'

/** As AMQP numbers them. */
export const NOT_FOUND = 404
export const PRECONDITION_FAILED = 406
const ACCESS_REFUSED = 403
const RESOURCE_LOCKED = 405

export const codeOf = (error: unknown): number | undefined => (error as { code?: number } | undefined)?.code

/** The broker said no, and would again; everything else is a connection that went. */
export const isRefusal = (error: unknown): boolean =>
  [ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED].includes(codeOf(error) ?? 0)

export function judge(error: unknown, where: string): DeferqError {
  if (isDeferqError(error)) return error
  const { message } = error as Error
  const say = (code: 'STORE_UNAVAILABLE' | 'STORE_MISMATCH', what: string): DeferqError =>
    new DeferqError(code, `RabbitMQ at ${where} ${what}`, { cause: error })
  if (isLoginFault(error)) return loginFault(error, where)
  switch (codeOf(error)) {
    case ACCESS_REFUSED:
      return say(
        'STORE_UNAVAILABLE',
        `does not allow this user what is needed (${message}). Grant it: configure, write and read on the queues and on 'deferq.*'.`,
      )
    case RESOURCE_LOCKED:
      return say(
        'STORE_MISMATCH',
        `keeps a queue for another connection alone (${message}). Use another name.`,
      )
    case PRECONDITION_FAILED:
      if (/delivery acknowledgement/.test(message)) {
        return say(
          'STORE_UNAVAILABLE',
          `has taken back what was held for too long (${message}). Raise consumer_timeout in its rabbitmq.conf.`,
        )
      }
      return say(
        'STORE_MISMATCH',
        `has something of this name that differs from what is needed (${message}).`,
      )
  }
  return unavailable('The connection was lost to RabbitMQ', where, error)
}

/** The same login, or virtual host, is refused again: whoever waits for a connection is told at once. */
export const isLoginFault = (error: unknown): boolean =>
  /Handshake terminated by server|Expected ConnectionOpenOk|SASL mechanism/.test((error as Error).message)

export function loginFault(error: unknown, where: string): DeferqError {
  const { message } = error as Error
  // On a virtual host that is refused, the client library tells no more than that.
  const what = /ConnectionOpenOk/.test(message)
    ? 'has no such virtual host, or does not let this user in. Create it, or grant it'
    : `refuses the login (${message}). Check the user and the password`
  return new DeferqError(
    'STORE_UNAVAILABLE',
    `RabbitMQ at ${where} ${what}; the URL is amqp://user:password@host/vhost.`,
    { cause: error },
  )
}

export function unavailable(what: string, where: string, cause: unknown): DeferqError {
  const reason = cause instanceof Error && cause.message !== '' ? ` Last error: ${cause.message}.` : ''
  return new DeferqError(
    'STORE_UNAVAILABLE',
    `${what} at ${where}.${reason} Check that it runs and can be reached from here.`,
    cause === undefined ? {} : { cause },
  )
}

export function full(where: string, why: string): DeferqError {
  return new DeferqError(
    'STORE_FULL',
    `RabbitMQ at ${where} takes no messages for now: ${why}. Let consumers drain its queues, or give it memory and disk space.`,
  )
}

export function closed(where: string): DeferqError {
  return new DeferqError('CLOSED', `This RabbitMQ transport (${where}) is closed: open a new one.`)
}
