// Errors as problem documents (RFC 9457): the cause, the place and the remedy, without stacks and without the store behind.

import { STATUS_CODES } from 'node:http'
import type { DeferqError, ErrorCode } from '../base/errors.ts'
import { isDeferqError, maskUrl } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Answer } from './call.ts'
import { Refusal } from './call.ts'

const STATUS: Partial<Record<ErrorCode, number>> = {
  INVALID_SIGNATURE: 401,
  INVALID_REQUEST: 400,
  INVALID_ID: 404,
  TASK_NOT_FOUND: 410,
  NOT_FINISHED: 409,
  PARAMS_TOO_LARGE: 413,
  UNKNOWN_TASK: 422,
  INVALID_OPTION: 422,
  INVALID_PARAMS: 422,
  UNHASHABLE_PARAMS: 422,
  SCOPE_REQUIRED: 422,
  PARAMS_MISMATCH: 422,
  DUPLICATE: 409,
  STORE_UNAVAILABLE: 503,
  STORE_FULL: 503,
  CLOSED: 503,
}
/** Puts the names of the outside in place of those of the inside. */
type Masked = (text: string) => string

/** The details of an error that the other side may know. */
const TOLD = ['reason', 'issues', 'path', 'size', 'unit', 'limit', 'taskId', 'fingerprint']

/** `more`: members beside those of the error. */
export function problem(error: unknown, log: Logger, masked: Masked, more: object = {}): Answer {
  const document = documentOf(error, log, masked)
  const { status } = document
  const headers = error instanceof Refusal ? error.headers : {}
  return {
    status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(status === 401 ? { 'www-authenticate': 'Webhook-Signature' } : {}),
      ...(status === 503 ? { 'retry-after': '1' } : {}),
      ...headers,
    },
    body: JSON.stringify({ ...document, ...more }),
  }
}

export interface Problem {
  type: string
  title: string
  status: number
  code: ErrorCode
  detail: string
  [told: string]: unknown
}

/** The problem document, for a whole request or for one item in it. */
export function documentOf(error: unknown, log: Logger, masked: Masked): Problem {
  const { status, code, detail } = toldOf(error, log, masked)
  const details = isDeferqError(error) && status < 500 ? (error.details ?? {}) : {}
  const told = Object.entries(details).filter(([name]) => TOLD.includes(name))
  const problem: Problem = {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    code,
    detail,
    ...Object.fromEntries(told),
  }
  // `status` is that of the response.
  if (details.status !== undefined) problem.runStatus = details.status
  return problem
}

function toldOf(
  error: unknown,
  log: Logger,
  masked: Masked,
): { status: number; code: ErrorCode; detail: string } {
  if (error instanceof Refusal) return { status: error.status, code: error.code, detail: error.message }
  const known = isDeferqError(error) ? STATUS[error.code] : undefined
  if (known === 503) {
    log.error({ error }, 'the HTTP interface could not reach its store')
    return {
      status: 503,
      code: (error as DeferqError).code,
      detail: 'The store of this server is not available now. Try again.',
    }
  }
  if (known !== undefined) {
    const { code, message } = error as DeferqError
    return { status: known, code, detail: masked(maskUrl(message)) }
  }
  log.error({ error }, 'the HTTP interface failed')
  const mounted = isDeferqError(error, 'INTERNAL')
  return {
    status: 500,
    code: 'INTERNAL',
    detail: mounted ? error.message : 'This server failed. Its log says why.',
  }
}
