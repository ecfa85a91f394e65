// Validates a value by any Standard Schema.
import { DeferqError } from '../base/errors.ts'
import type { StandardSchema } from './task.ts'

/** The schema's output, or INVALID_PARAMS with each issue and its path. */
export function validate(schema: StandardSchema, value: unknown, where: string): unknown | Promise<unknown> {
  const result = schema['~standard'].validate(value)
  return isThenable(result)
    ? Promise.resolve(result).then((settled) => accept(settled, where))
    : accept(result, where)
}

// Not only this realm's Promise: any other would count as a result with no issues and no value.
const isThenable = <T>(value: T | PromiseLike<T>): value is PromiseLike<T> =>
  typeof (value as { then?: unknown } | undefined)?.then === 'function'

function accept(
  result: Awaited<ReturnType<StandardSchema['~standard']['validate']>>,
  where: string,
): unknown {
  if (result.issues === undefined) return result.value
  const issues = result.issues.map(({ message, path }) => ({
    path: ['params', ...(path ?? []).map((step) => String(typeof step === 'object' ? step.key : step))].join(
      '.',
    ),
    message,
  }))
  throw new DeferqError(
    'INVALID_PARAMS',
    `${where}: ${issues.map((issue) => `${issue.path}: ${issue.message}`).join('; ')}`,
    { details: { issues } },
  )
}
