// Puts an attempt at a request together: the body, the headers that identify, announce and sign it, and what must be shown nowhere.
import { DeferqError } from '../base/errors.ts'
import { backoffMs } from '../base/time.ts'
import { packageVersion } from '../base/version.ts'
import type { Context } from '../tasks/task.ts'
import { withoutRetry } from '../tasks/task.ts'
import { ACCEPT_ENCODING } from './body.ts'
import { checkValue } from './check-request.ts'
import type { Outgoing } from './exchange.ts'
import type { Secrets } from './keys.ts'
import { keyNamed, textNamed } from './keys.ts'
import { outcomeText } from './outcome.ts'
import { FOR_ALL_ORIGINS } from './redirects.ts'
import type { Order } from './request-spec.ts'
import { signatureHeaders } from './signing.ts'

const CREDENTIAL = 8

export interface Composed {
  readonly outgoing: Outgoing
  /** Texts that stand in the request and may come back in the answer. */
  readonly hidden: readonly string[]
}

export async function compose(
  order: Order,
  context: Context,
  { keys, secret }: Secrets,
  userAgent = `deferq/${packageVersion()}`,
): Promise<Composed> {
  const { method, url } = order
  const announced = announcement(order, context)
  const { body, type, announces } = bodyOf(order, context, announced)
  const headers: Record<string, string> = {
    accept: '*/*',
    'accept-encoding': ACCEPT_ENCODING,
    'user-agent': userAgent,
  }
  if (type !== undefined) headers['content-type'] = type
  // The same at every attempt, so that the receiver can tell a repetition.
  if (method !== 'GET' && method !== 'HEAD') headers['idempotency-key'] = context.id
  if (!announces && order.announce !== 'none') Object.assign(headers, headersOf(announced))
  const hidden: string[] = []
  for (const [name, value] of Object.entries(order.headers)) {
    const lower = name.toLowerCase()
    const text = typeof value === 'string' ? value : textNamed(keys, value.key)
    if (typeof value !== 'string') {
      checkValue(text, `The key '${value.key}'`)
    }
    // The caller's own may be a credential too, where it is long enough for one.
    if (typeof value !== 'string' || (text.length >= CREDENTIAL && !FOR_ALL_ORIGINS.test(lower)))
      hidden.push(text)
    headers[lower] = text
  }
  if (order.jwt !== undefined) {
    const { makeJwt } = await import('./jwt.ts')
    const token = await makeJwt(order.jwt, keyNamed(keys, order.jwt.key), context.id, body)
    const header = (order.jwt.header ?? 'authorization').toLowerCase()
    headers[header] = header === 'authorization' ? `Bearer ${token}` : token
    hidden.push(token)
  }
  if (order.sign !== false)
    Object.assign(headers, signatureHeaders(order.sign, { keys, secret }, context.id, body))
  return { outgoing: { method, url, headers, body }, hidden }
}

/** How much of a text may be shown: none of what is hidden. */
export function masked(text: string, hidden: readonly string[]): string {
  return hidden.reduce((shown, each) => shown.replaceAll(each, '***'), text)
}

interface Announcement {
  createdAt: string
  attempt: { number: number; limit: number; interval: number }
}

function announcement({ interval }: Order, { attempt, maxAttempts, createdAt }: Context): Announcement {
  // In seconds, without the share that is random.
  const seconds = backoffMs(interval, attempt, undefined, () => 1) / 1_000
  return {
    createdAt: createdAt.toISOString(),
    attempt: { number: attempt, limit: maxAttempts, interval: seconds },
  }
}

function headersOf({ createdAt, attempt }: Announcement): Record<string, string> {
  return {
    'deferq-created-at': createdAt,
    'deferq-attempt': String(attempt.number),
    'deferq-attempt-limit': String(attempt.limit),
    'deferq-attempt-interval': String(attempt.interval),
  }
}

interface ComposedBody {
  body: Buffer | undefined
  type?: string
  /** It says itself which attempt this is. */
  announces: boolean
}

function bodyOf(
  { method, body, json, outcome, toldAs, announce }: Order,
  context: Context,
  __task: Announcement,
): ComposedBody {
  if (json !== undefined) {
    const announces = announce === 'body' && takesMember(json)
    const text = JSON.stringify(announces ? { ...(json as object), __task } : json)
    return { body: Buffer.from(text), type: 'application/json', announces }
  }
  if (typeof body === 'string')
    return { body: Buffer.from(body), type: 'text/plain; charset=utf-8', announces: false }
  if (body !== undefined)
    return { body: Buffer.from(body), type: 'application/octet-stream', announces: false }
  if (outcome) return { body: Buffer.from(told(context, toldAs)), type: 'application/json', announces: false }
  const bare = method === 'GET' || method === 'HEAD' || method === 'DELETE'
  return { body: bare ? undefined : Buffer.alloc(0), announces: false }
}

function told({ parent, createdAt }: Context, as: string | undefined): string {
  if (parent !== undefined) return outcomeText(parent, createdAt, as)
  throw withoutRetry(
    new DeferqError(
      'REQUEST_FAILED',
      'This webhook follows no run that it could tell of: only the one that a run leads to knows how it ended. Dispatch that run again, with the callback.',
    ),
  )
}

/** A member of its own by that name is the caller's. */
function takesMember(json: unknown): boolean {
  const plain = Object.getPrototypeOf(Object(json)) === Object.prototype
  return plain && typeof json === 'object' && !Object.hasOwn(json as object, '__task')
}
