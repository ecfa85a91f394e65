// The one error class of deferq and its closed set of codes.

/** Every code a `DeferqError` can carry. Codes are stable; messages may become clearer. */
export const ERROR_CODES = [
  // what the caller handed over
  'UNKNOWN_TASK',
  'INVALID_OPTION',
  'INVALID_PARAMS',
  'INVALID_ID',
  'UNHASHABLE_PARAMS',
  'PARAMS_TOO_LARGE',
  'SCOPE_REQUIRED',
  'PARAMS_MISMATCH',
  // how a run ended, or why a wait did
  'TASK_FAILED',
  'TASK_CANCELLED',
  'ABANDONED',
  'SUPERSEDED',
  'RULE_FAILED',
  'DUPLICATE',
  'BATCH_FAILED',
  'TASK_NOT_FOUND',
  'TASK_TIMEOUT',
  'LEASE_LOST',
  'UNSTORABLE_RESULT',
  'RESULT_TOO_LARGE',
  'NOT_FINISHED',
  'WAIT_TIMEOUT',
  'ABORTED',
  'CLOSED',
  // the store and its surroundings
  'STORE_UNAVAILABLE',
  'STORE_FULL',
  'STORE_MISMATCH',
  'MALFORMED_VALUE',
  'MALFORMED_ENTRY',
  'INVALID_ENVELOPE',
  'INVALID_URL',
  'MISSING_DEPENDENCY',
  'INVALID_BOOTSTRAP',
  'USAGE',
  // between applications
  'REQUEST_FAILED',
  'ADDRESS_REFUSED',
  'INVALID_SIGNATURE',
  'INVALID_REQUEST',
  'INTERNAL',
] as const

export type ErrorCode = (typeof ERROR_CODES)[number]

const BRAND = Symbol.for('deferq.error')

/** What, where, and what to do about it; `toJSON()` survives a network, `errorFromJson()` brings it back. */
export class DeferqError extends Error {
  readonly code: ErrorCode
  readonly details: Readonly<Record<string, unknown>> | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; details?: Record<string, unknown> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'DeferqError'
    this.code = code
    this.details = options.details
    Object.defineProperty(this, BRAND, { value: true })
  }

  toJSON(): ErrorJson {
    return errorToJson(this)
  }
}

/** True across copies of the package too (two versions in one tree, a bootstrap file loaded apart). */
export function isDeferqError(error: unknown, code?: ErrorCode): error is DeferqError {
  if (typeof error !== 'object' || error === null || !(BRAND in error)) return false
  return code === undefined || (error as unknown as DeferqError).code === code
}

export interface ErrorJson {
  name: string
  message: string
  code?: string | number
  stack?: string
  details?: unknown
  cause?: ErrorJson
}

// A stack of a few kilobytes shows where; more would fill the store with node_modules frames.
const MAX_MESSAGE = 4_000
const MAX_STACK = 4_000
const MAX_CAUSES = 5
const MAX_DETAIL = 4_000

/** Anything that was thrown, as plain JSON: name, code, message, stack and the chain of causes. It never throws itself. */
export function errorToJson(thrown: unknown, depth = 0): ErrorJson {
  try {
    return jsonOf(thrown, depth)
  } catch {
    return { name: 'NonError', message: `A thrown ${typeof thrown} that can’t be read.` }
  }
}

function jsonOf(thrown: unknown, depth: number): ErrorJson {
  if (!(thrown instanceof Error)) {
    if (isErrorShaped(thrown))
      return { name: String(thrown.name ?? 'Error'), message: cut(thrown.message, MAX_MESSAGE) }
    return { name: 'NonError', message: cut(describe(thrown), MAX_MESSAGE) }
  }
  const json: ErrorJson = {
    name: cut(String(thrown.name), 200),
    message: cut(String(thrown.message), MAX_MESSAGE),
  }
  const { code, details } = thrown as { code?: unknown; details?: unknown }
  if (typeof code === 'string' || typeof code === 'number') json.code = code
  if (typeof thrown.stack === 'string') json.stack = cut(thrown.stack, MAX_STACK)
  if (typeof details === 'object' && details !== null && isDeferqError(thrown)) json.details = brief(details)
  if (thrown.cause !== undefined && depth < MAX_CAUSES) json.cause = errorToJson(thrown.cause, depth + 1)
  return json
}

/** The inverse: an `Error` whose name, code, stack and cause are those of the process that threw it. */
export function errorFromJson(json: ErrorJson): Error {
  const cause = json.cause === undefined ? undefined : errorFromJson(json.cause)
  const known = json.name === 'DeferqError' && ERROR_CODES.includes(json.code as ErrorCode)
  const error = known
    ? new DeferqError(json.code as ErrorCode, json.message, {
        cause,
        ...(json.details === undefined ? {} : { details: json.details as Record<string, unknown> }),
      })
    : new Error(json.message, cause === undefined ? undefined : { cause })
  if (!known) {
    Object.defineProperty(error, 'name', { value: json.name, configurable: true, writable: true })
    if (json.code !== undefined) Object.assign(error, { code: json.code })
  }
  if (json.stack !== undefined) error.stack = json.stack
  return error
}

/** Text fit for a message or a log: the passwords of the URLs in it are masked, and what a query calls a secret. */
export function maskUrl(text: string): string {
  return text
    .replace(/([a-z][a-z0-9+.-]*:\/\/)([^\s'"`@:/?#]*):([^\s'"`]*)@/gi, '$1$2:***@')
    .replace(/([?&](?:password|secret|token|auth)=)[^\s&'"`]*/gi, '$1***')
}

function isErrorShaped(value: unknown): value is { name?: unknown; message: string } {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { message?: unknown }).message === 'string'
  )
}

function describe(value: unknown): string {
  try {
    return typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value))
  } catch {
    // A thrown value may be cyclic or hostile; its type is all that can be said safely.
    return `a thrown ${typeof value}`
  }
}

/** Without what is no JSON or is long: the history in an error would hold the histories of the errors in it, and so on. */
function brief(details: object): Record<string, unknown> {
  const kept = Object.entries(details).filter(([, value]) => {
    try {
      return (JSON.stringify(value)?.length ?? MAX_DETAIL) < MAX_DETAIL
    } catch {
      return false
    }
  })
  return Object.fromEntries(kept)
}

function cut(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit)}… (${text.length - limit} more characters)`
}
