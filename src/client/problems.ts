// From the problem documents of an HTTP interface (RFC 9457) to the errors that a store would have thrown.

import type { ErrorCode } from '../base/errors.ts'
import { DeferqError, ERROR_CODES } from '../base/errors.ts'

/** Undefined where the document is none of deferq's. */
export function refusalOf(problem: Record<string, unknown> | undefined): DeferqError | undefined {
  const { code, detail, runStatus, title: _title, type: _type, status: _status, ...details } = problem ?? {}
  if (!ERROR_CODES.includes(code as ErrorCode)) return undefined
  // In a problem document `status` is that of the response.
  if (runStatus !== undefined) details.status = runStatus
  return new DeferqError(
    code as ErrorCode,
    String(detail),
    Object.keys(details).length === 0 ? {} : { details },
  )
}

/** The refusal of one item among others. */
export const refusalOfItem = (problem: Record<string, unknown>): DeferqError =>
  refusalOf(problem) ??
  new DeferqError('INTERNAL', `The interface refused an item with an unknown code: ${String(problem.code)}.`)
