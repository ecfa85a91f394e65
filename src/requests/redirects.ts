// Follows redirects: each target passes the guard again, and what was meant for one origin alone does not reach another.
import { DeferqError } from '../base/errors.ts'
import type { Answer, Outgoing } from './exchange.ts'
import { exchange } from './exchange.ts'
import type { Guard } from './guard.ts'

export const MAX_REDIRECTS = 5

const REDIRECTS = new Set([301, 302, 303, 307, 308])
/** Whatever else a caller has set may be a credential. */
export const FOR_ALL_ORIGINS =
  /^(accept|accept-(encoding|language)|content-(type|language)|user-agent|idempotency-key|webhook-.+|deferq-.+)$/
const OF_A_BODY = /^(content-.+|webhook-.+)$/

export interface Following {
  guard: Guard
  signal: AbortSignal
  /** Bytes of the last answer's body. */
  cap: number
  /** A code that the caller named is the answer, even if it redirects. */
  named: (status: number) => boolean
}

export async function follow(
  first: Outgoing,
  { guard, signal, cap, named }: Following,
): Promise<{ answer: Answer; url: URL }> {
  let outgoing = first
  for (let count = 0; ; count++) {
    const redirects = (status: number): boolean => REDIRECTS.has(status) && !named(status)
    const answer = await exchange(outgoing, guard, signal, (status) => (redirects(status) ? 0 : cap))
    const { location } = answer.headers
    if (!redirects(answer.status) || location === undefined || !URL.canParse(location, outgoing.url.href))
      return { answer, url: outgoing.url }
    if (count === MAX_REDIRECTS) {
      throw new DeferqError(
        'REQUEST_FAILED',
        `${first.method} to ${first.url.host} was redirected more than ${MAX_REDIRECTS} times.`,
      )
    }
    outgoing = redirected(outgoing, answer.status, new URL(location, outgoing.url))
  }
}

/** RFC 9110, 15.4: a POST that is answered by 301 or 302 goes on as GET, as anything does after 303. */
export function redirected({ method, url, headers, body }: Outgoing, status: number, to: URL): Outgoing {
  if (url.protocol === 'https:' && to.protocol === 'http:') {
    throw new DeferqError(
      'ADDRESS_REFUSED',
      `A request to ${url.host} is refused: it was redirected from https: to http: at ${to.host}.`,
    )
  }
  const asGet =
    (status === 303 && method !== 'GET' && method !== 'HEAD') ||
    ((status === 301 || status === 302) && method === 'POST')
  const kept = Object.entries(headers).filter(
    ([name]) => (to.origin === url.origin || FOR_ALL_ORIGINS.test(name)) && !(asGet && OF_A_BODY.test(name)),
  )
  return {
    method: asGet ? 'GET' : method,
    url: to,
    headers: Object.fromEntries(kept),
    body: asGet ? undefined : body,
  }
}
