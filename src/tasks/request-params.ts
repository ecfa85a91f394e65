// The params of an outgoing request, and of a callback by URL.
import type { Duration, ExponentialBackoff } from '../base/time.ts'

/** Text, or the name of a key that the worker has: what lies in the store is the name. */
export type HeaderValue = string | { readonly key: string }

/** A JSON Web Token for the receiver, made anew for each attempt: jti is the request’s id, bodySha256 the digest of the body. */
export interface JwtOptions {
  /** The name of one of the worker’s keys. */
  readonly key: string
  /** ('HS512') */
  readonly algorithm?: 'HS256' | 'HS384' | 'HS512' | 'EdDSA'
  readonly issuer?: string
  readonly audience?: string
  readonly subject?: string
  /** How long it is valid (5 min). */
  readonly expiresIn?: Duration
  readonly claims?: Readonly<Record<string, unknown>>
  /** Where it goes; by itself where that is not Authorization, which says Bearer before it ('authorization'). */
  readonly header?: string
}

/** What is sent, and what becomes of the answer. These are the params of the task 'http.request'. */
export interface RequestParams {
  readonly url: string | URL
  /** (POST with a body, else GET) */
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly headers?: Readonly<Record<string, HeaderValue>>
  readonly body?: string | Uint8Array
  readonly json?: unknown
  /** As a callback: the body tells how the run that it follows has ended (false). */
  readonly outcome?: boolean
  /** What the outcome calls the task of that run, in place of its name. */
  readonly toldAs?: string
  /** Not sent from this moment on, by the store’s clock; as a Date, epoch milliseconds or ISO-8601 text. */
  readonly expiresAt?: Date | number | string
  /** The answers that end it well (200 to 299). */
  readonly successCodes?: readonly number[]
  /** The answers after which it is given up; 418 always is one. */
  readonly stopCodes?: readonly number[]
  /** The wait before another attempt ('60s'), also as a back-off. An answer’s Retry-After comes before it. */
  readonly attemptInterval?: Duration | readonly Duration[] | ExponentialBackoff
  /** How long one attempt may take as a whole ('30s'). */
  readonly timeout?: Duration
  readonly jwt?: JwtOptions
  /** Signed as Standard Webhooks has it: with the worker’s secret (true), or with one of its keys by name (false). */
  readonly sign?: boolean | string
  /** How the receiver learns which attempt it is: __task in a JSON object, else headers; or headers alone ('body'). */
  readonly announce?: 'body' | 'headers' | 'none'
}

/** Posts the outcome to this URL, signed with the worker’s secret unless told otherwise, whether the run succeeds or not. */
export interface WebhookCallback
  extends Pick<
    RequestParams,
    | 'url'
    | 'method'
    | 'headers'
    | 'expiresAt'
    | 'successCodes'
    | 'stopCodes'
    | 'attemptInterval'
    | 'timeout'
    | 'jwt'
    | 'sign'
    | 'announce'
    | 'toldAs'
  > {
  /** ('both') */
  readonly on?: 'success' | 'failure' | 'both'
  /** (16) */
  readonly attemptLimit?: number
}
