// What may be said of an outgoing request, checked where it is written; and how it is dispatched.

import { hash } from 'node:crypto'
import { environment } from '../base/environment.ts'
import { DeferqError, isDeferqError } from '../base/errors.ts'
import type { Duration, ExponentialBackoff } from '../base/time.ts'
import { backoffMs, checkBackoff, durationMs, momentMs } from '../base/time.ts'
import { checkKnown, checkName, checkWhole } from '../tasks/check-options.ts'
import type { DispatchOptions } from '../tasks/options.ts'
import type { HeaderValue, JwtOptions, RequestParams } from '../tasks/request-params.ts'
import type { SharedOptions } from '../tasks/task.ts'
import { encode } from '../values/encode.ts'
import { checkHeaders, checkJwt } from './check-request.ts'
import { checkUrl } from './url.ts'

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
const ANNOUNCING = ['body', 'headers', 'none'] as const

type OfDispatch = (typeof OF_DISPATCH)[number]

export interface RequestOptions extends RequestParams, Pick<DispatchOptions<RequestResult>, OfDispatch> {
  /** Attempts in all, killed ones too (as many as fit before it expires, 1440 when it never does). */
  readonly attemptLimit?: number
}

/** What came of it. */
export interface RequestResult {
  readonly status: number
  /** Without cookies. */
  readonly headers: Readonly<Record<string, string>>
  /** As text, up to the worker’s `maxBody`. */
  readonly body: string
  /** The body goes on: it was too long, too slow, broke off, or could not be decompressed. */
  readonly cut: boolean
  /** Where redirects led, if they did. */
  readonly url?: string
  readonly attempt: number
  readonly tookMs: number
}

/** A request as it is carried out, with nothing left open. */
export interface Order {
  readonly url: URL
  readonly method: (typeof METHODS)[number]
  readonly headers: Readonly<Record<string, HeaderValue>>
  readonly body: string | Uint8Array | undefined
  readonly json: unknown
  readonly outcome: boolean
  readonly toldAs: string | undefined
  readonly expiresAt: number | undefined
  readonly successCodes: ReadonlySet<number> | undefined
  readonly stopCodes: ReadonlySet<number>
  readonly interval: Duration | readonly Duration[] | ExponentialBackoff
  readonly timeoutMs: number
  readonly jwt: JwtOptions | undefined
  readonly sign: boolean | string
  readonly announce: (typeof ANNOUNCING)[number]
}

export const INTERVAL = '60s'
export const TIMEOUT = '30s'
export const ATTEMPTS = 1_440
const MAX_ATTEMPTS = 10_000
export const TEAPOT = 418
// The handler ends by itself when its time is over; the runner's own time-out is for a handler that hangs.
const SPARE_MS = 5_000

const OF_PARAMS = [
  'url',
  'method',
  'headers',
  'body',
  'json',
  'outcome',
  'toldAs',
  'expiresAt',
  'successCodes',
  'stopCodes',
  'attemptInterval',
  'timeout',
  'jwt',
  'sign',
  'announce',
] as const satisfies readonly (keyof RequestParams)[]
const OF_DISPATCH = [
  'queue',
  'priority',
  'idempotencyKey',
  'scope',
  'delay',
  'runAt',
  'retention',
  'resultTtl',
  'traceId',
  'callback',
  'tx',
  'signal',
] as const satisfies readonly (keyof DispatchOptions)[]
const OF_REQUEST: readonly string[] = [...OF_PARAMS, ...OF_DISPATCH, 'attemptLimit']

/** Throws for what no worker could carry out; the same where it is dispatched and where it is run. */
export function orderOf(params: RequestParams, where: string): Order {
  checkKnown(params, OF_PARAMS, where)
  const { body, json, outcome = false, toldAs, headers = {}, jwt, sign = false, announce = 'body' } = params
  const bodies = [body, json, outcome || undefined].filter((each) => each !== undefined).length
  const method = params.method ?? (bodies === 0 ? 'GET' : 'POST')
  const url = urlOf(params.url, where)
  oneOf(METHODS, method, `${where}: method`)
  oneOf(ANNOUNCING, announce, `${where}: announce`)
  if (typeof outcome !== 'boolean') throw unfit(`${where}: outcome must be true or false`)
  if (toldAs !== undefined) checkName(toldAs, `${where}: toldAs`)
  if (bodies > 1) throw unfit(`${where}: give one of body, json and outcome`)
  if ((method === 'GET' || method === 'HEAD') && bodies > 0) throw unfit(`${where}: a ${method} has no body`)
  if (body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array))
    throw unfit(`${where}: body must be text or bytes; for anything else there is json`)
  if (json !== undefined) checkJson(json, where)
  checkHeaders(headers, where)
  if (jwt !== undefined) checkJwt(jwt, where)
  if (typeof sign !== 'boolean' && (typeof sign !== 'string' || sign === ''))
    throw unfit(`${where}: sign must be true, false, or the name of one of the worker’s keys`)
  const interval = params.attemptInterval ?? INTERVAL
  if (typeof interval === 'function') throw unfit(`${where}: attemptInterval can't be a function, it travels`)
  checkBackoff(interval, `${where}: attemptInterval`)
  const timeoutMs = durationMs(params.timeout ?? TIMEOUT, `${where}: timeout`)
  if (timeoutMs === 0) throw unfit(`${where}: timeout must be longer than 0`)
  const { successCodes, stopCodes } = codesOf(params, where)
  return {
    url,
    method,
    headers,
    body,
    json,
    outcome,
    toldAs,
    expiresAt: params.expiresAt === undefined ? undefined : momentMs(params.expiresAt, `${where}: expiresAt`),
    successCodes,
    stopCodes,
    interval,
    timeoutMs,
    jwt,
    sign,
    announce,
  }
}

/** How a request is dispatched: what is stored, and what the dispatch is told. */
export function dispatchOf(
  options: RequestOptions,
  where: string,
  now = environment.now(),
): { params: RequestParams; options: DispatchOptions<RequestResult> } {
  checkKnown(options, OF_REQUEST, where)
  if (options.outcome) throw unfit(`${where}: outcome is for callbacks, which follow a run`)
  const { attemptLimit, ...given } = options
  const params: Record<string, unknown> = {}
  const rest: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined) (OF_PARAMS.includes(name as never) ? params : rest)[name] = value
  }
  const order = orderOf(params as unknown as RequestParams, where)
  params.url = order.url.href
  if (order.expiresAt !== undefined) params.expiresAt = order.expiresAt
  return {
    params: params as unknown as RequestParams,
    options: {
      // What is sent is what makes two requests one, not how long it is tried.
      idempotencyKey: contentKey(order),
      // Sent anew when it is asked for anew; what is under way is shared.
      resultTtl: 0,
      ...policyOf(order, attemptLimit, startOf(rest, now, where), where),
      ...rest,
    },
  }
}

/** What the runner has to know: attempts, the wait between them when a worker dies of one, and when one is over. */
export function policyOf(
  order: Order,
  attemptLimit: number | undefined,
  startsAt: number,
  where: string,
): Required<Pick<SharedOptions, 'retries' | 'backoff' | 'timeout'>> {
  if (attemptLimit !== undefined) checkWhole(attemptLimit, 1, MAX_ATTEMPTS, `${where}: attemptLimit`)
  const limit = attemptLimit ?? attemptsBefore(order, startsAt)
  return { retries: limit - 1, backoff: order.interval, timeout: order.timeoutMs + SPARE_MS }
}

/** How many attempts begin before it expires, with the shortest waits that the interval has. */
export function attemptsBefore({ expiresAt, interval }: Order, startsAt: number): number {
  if (expiresAt === undefined) return ATTEMPTS
  let at = startsAt
  for (let count = 1; count < MAX_ATTEMPTS; count++) {
    at += backoffMs(interval, count, undefined, () => 0)
    if (at >= expiresAt) return count
  }
  return MAX_ATTEMPTS
}

function startOf(
  { delay, runAt }: { delay?: Duration; runAt?: Date | number | string },
  now: number,
  where: string,
): number {
  if (runAt !== undefined) return Math.max(now, momentMs(runAt, `${where}: runAt`))
  return now + (delay === undefined ? 0 : durationMs(delay, `${where}: delay`))
}

function contentKey({ method, url, headers, body, json, outcome, jwt, sign }: Order): string {
  return `request:${hash('sha256', encode({ method, url: url.href, headers, body, json, outcome, jwt, sign }), 'hex')}`
}

function urlOf(url: string | URL, where: string): URL {
  if (!(url instanceof URL) && (typeof url !== 'string' || !URL.canParse(url)))
    throw unfit(`${where}: url must be a whole one, such as 'https://example.com/hook'`)
  const parsed = new URL(url)
  parsed.hash = ''
  try {
    checkUrl(parsed)
  } catch (error) {
    if (isDeferqError(error)) error.message = `${where}: ${error.message}`
    throw error
  }
  return parsed
}

function codesOf(
  { successCodes, stopCodes = [] }: RequestParams,
  where: string,
): Pick<Order, 'successCodes' | 'stopCodes'> {
  for (const [option, codes] of Object.entries({ successCodes, stopCodes })) {
    if (codes === undefined) continue
    if (!Array.isArray(codes)) throw unfit(`${where}: ${option} must be a list of status codes`)
    for (const code of codes) checkWhole(code, 200, 599, `${where}: each of ${option}`)
  }
  if (successCodes?.length === 0)
    throw unfit(`${where}: successCodes is empty, so that nothing could succeed`)
  const stop = new Set(stopCodes).add(TEAPOT)
  const both = successCodes?.find((code) => stop.has(code))
  if (both !== undefined) throw unfit(`${where}: ${both} can't be a success code, for it is a stop code`)
  return { successCodes: successCodes === undefined ? undefined : new Set(successCodes), stopCodes: stop }
}

function checkJson(json: unknown, where: string): void {
  try {
    if (JSON.stringify(json) !== undefined) return
  } catch (cause) {
    throw new DeferqError('INVALID_OPTION', `${where}: json can't be written as JSON.`, { cause })
  }
  throw unfit(`${where}: json can't be written as JSON`)
}

function oneOf(known: readonly string[], value: unknown, where: string): void {
  if (known.includes(value as string)) return
  throw unfit(`${where} is ${JSON.stringify(value)?.slice(0, 60)}: use ${known.join(', ')}`)
}

function unfit(message: string): DeferqError {
  return new DeferqError('INVALID_OPTION', `${message}.`)
}
