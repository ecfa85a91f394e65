// The ready task 'http.request': given to a DeferQ, its workers send what deferq.request() and callbacks by URL ask for.
import type { LookupFunction } from 'node:net'
import { DeferqError, isDeferqError } from '../base/errors.ts'
import { keysOf } from '../signing/signature.ts'
import { checkWhole } from '../tasks/check-options.ts'
import { HTTP_REQUEST } from '../tasks/options.ts'
import type { RequestParams } from '../tasks/request-params.ts'
import type { StandardSchema, Task, TaskOptions } from '../tasks/task.ts'
import { task } from '../tasks/task.ts'
import { Guard } from './guard.ts'
import type { Keys } from './keys.ts'
import { checkKeys } from './keys.ts'
import type { RequestResult } from './request-spec.ts'
import { ATTEMPTS, INTERVAL, orderOf } from './request-spec.ts'
import type { Sender } from './send.ts'

export interface HttpRequestOptions
  extends Omit<TaskOptions<RequestParams>, 'key' | 'ignore' | 'scope' | 'version'> {
  /**
   * What may be reached although it is not on the open internet (nothing): addresses, ranges ('10.1.0.0/16'), hosts
   * ('hooks.internal'), and all hosts below one ('*.svc.local').
   */
  allow?: readonly string[]
  /** By name, for jwt, sign and headers of a request; they never lie in the store. */
  keys?: Keys
  /** What webhooks are signed with (the environment's DEFERQ_SECRET). Several sign side by side, while one replaces another. */
  secret?: string | readonly string[]
  /** How much of an answer's body is kept, in bytes after decompression (65536). */
  maxBody?: number
  /** ('deferq/<version>') */
  userAgent?: string
  /** How names are resolved (as the system does). */
  lookup?: LookupFunction
}

const MAX_BODY = 65_536

/** The task that sends requests. Workers of a DeferQ without it leave them for others, and say so. */
export function httpRequest(
  options: HttpRequestOptions = {},
): Task<typeof HTTP_REQUEST, RequestParams, RequestResult, RequestParams, false> {
  const { allow, keys = {}, secret, maxBody = MAX_BODY, userAgent, lookup, ...rest } = options
  checkWhole(maxBody, 0, 8 * 1024 * 1024, 'httpRequest(): maxBody')
  checkKeys(keys)
  if (secret !== undefined) keysOf(secret, 'httpRequest(): secret')
  if (userAgent !== undefined && (typeof userAgent !== 'string' || !/^[\x20-\x7e]+$/.test(userAgent)))
    throw new DeferqError('INVALID_OPTION', 'httpRequest(): userAgent must be text of printable characters.')
  if (lookup !== undefined && typeof lookup !== 'function')
    throw new DeferqError('INVALID_OPTION', 'httpRequest(): lookup must be a function, as dns.lookup is.')
  const sender: Sender = { guard: new Guard(allow, lookup), keys, secret, maxBody, userAgent }
  return task(HTTP_REQUEST, {
    resultTtl: 0,
    retries: ATTEMPTS - 1,
    backoff: INTERVAL,
    ...rest,
    schema: SCHEMA,
    async run(params: RequestParams, context): Promise<RequestResult> {
      const { send } = await import('./send.ts')
      return send(orderOf(params, 'The request'), context, sender)
    },
  }) as Task<typeof HTTP_REQUEST, RequestParams, RequestResult, RequestParams, false>
}

const SCHEMA: StandardSchema<RequestParams> = {
  '~standard': {
    version: 1,
    vendor: 'deferq',
    validate(value) {
      try {
        orderOf(value as RequestParams, HTTP_REQUEST)
        return { value: value as RequestParams }
      } catch (error) {
        if (!isDeferqError(error)) throw error
        return { issues: [{ message: error.message }] }
      }
    },
  },
}
