// Signs what travels between applications and verifies it: HMAC-SHA256 in the headers of Standard Webhooks.
//
// Two forms, told apart by the version in front of each signature and by the bytes that are signed, so that a signature
// of one is never one of the other:
//
//  v1   a webhook:  `<id>.<timestamp>.<body>`, as Standard Webhooks has it.
//  v1r  a request:  `v1r`, method, path with query, id, timestamp and Idempotency-Key (empty where there is none), each
//                   followed by a line feed, and then the body, byte for byte.
//
// A webhook's id comes from a header, which holds no line feed, so no webhook's bytes begin with a line `v1r`.

import type { KeyObject } from 'node:crypto'
import { nodeCrypto } from '../base/crypto.ts'
import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import { newRun } from '../values/fingerprint.ts'

/** How far the clocks of the two sides may be apart, with the way between them. */
export const TOLERANCE_MS = 300_000

const WEBHOOK = 'v1'
const REQUEST = 'v1r'
const LEAST_CHARACTERS = 32
const LEAST_BYTES = 24
// Each further one costs a comparison; nobody rotates this many secrets at a time.
const MOST_SIGNATURES = 10

/** What secrets are made into, once: signing uses the first, and a signature by any of them is valid. */
export type Keys = readonly KeyObject[]

/** What is signed beside the body, where a request to the interface is signed and not a webhook. */
export interface RequestLine {
  method: string
  /** The path with its query, as it is sent: '/deferq/tasks?x=1'. */
  target: string
  /** The value of the header Idempotency-Key. */
  idempotencyKey?: string
}

export interface Unsigned {
  body: string | Uint8Array
  request?: RequestLine
}

export interface SignatureHeaders {
  'webhook-id': string
  'webhook-timestamp': string
  'webhook-signature': string
}

export interface Verified {
  id: string
  /** Epoch milliseconds. */
  timestamp: number
}

/**
 * One secret, or several while one takes the place of another. `whsec_` and base64 is one of Standard Webhooks; anything
 * else is a text whose bytes are the key.
 */
export function keysOf(secrets: string | readonly string[], where: string): Keys {
  const all = typeof secrets === 'string' ? [secrets] : secrets
  if (!Array.isArray(all) || all.length === 0) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where}: give a secret, or a list of them; there is none by default. node -p "crypto.randomBytes(48).toString('hex')" makes one.`,
    )
  }
  // By its place: a secret is in no message.
  return all.map((secret: unknown, index) => {
    const at = typeof secrets === 'string' ? where : `${where}[${index}]`
    if (typeof secret !== 'string' || secret === '')
      throw new DeferqError(
        'INVALID_OPTION',
        `${at} is ${secret === '' ? 'empty' : `a ${typeof secret}`}: is its environment variable set?`,
      )
    return nodeCrypto().createSecretKey(secret.startsWith('whsec_') ? decoded(secret, at) : plain(secret, at))
  })
}

function decoded(secret: string, where: string): Buffer {
  const text = secret.slice('whsec_'.length)
  const bytes = Buffer.from(text, 'base64')
  if (bytes.toString('base64').replace(/=+$/, '') !== text.replace(/=+$/, '') || bytes.length < LEAST_BYTES) {
    throw new DeferqError(
      'INVALID_OPTION',
      `${where} begins with whsec_, so what follows must be base64 of at least ${LEAST_BYTES} bytes.`,
    )
  }
  return bytes
}

function plain(secret: string, where: string): Buffer {
  if (secret.length >= LEAST_CHARACTERS) return Buffer.from(secret)
  throw new DeferqError(
    'INVALID_OPTION',
    `${where} has ${secret.length} characters, which is too short: take at least ${LEAST_CHARACTERS} random ones.`,
  )
}

/** The headers that go with the message. A webhook that is sent again keeps its id; a request gets a new one each time. */
export function sign(
  keys: Keys,
  { body, request }: Unsigned,
  { id = newRun(), now = environment.now() }: { id?: string; now?: number } = {},
): SignatureHeaders {
  const timestamp = String(Math.floor(now / 1_000))
  const version = request === undefined ? WEBHOOK : REQUEST
  const head = headOf(id, timestamp, request)
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `${version},${signature(keys[0] as KeyObject, head, body)}`,
  }
}

/** Throws INVALID_SIGNATURE, with a `details.reason`, unless one of the keys has signed just this within the tolerance. */
export function verify(
  keys: Keys,
  header: (name: keyof SignatureHeaders) => string | null | undefined,
  { body, request }: Unsigned,
  now = environment.now(),
): Verified {
  const id = header('webhook-id')
  const timestamp = header('webhook-timestamp')
  const signatures = header('webhook-signature')
  if (!id || !timestamp || !signatures)
    throw invalid('missing', 'webhook-id, webhook-timestamp and webhook-signature are needed')
  // A dot in it would leave open where the id ends and the timestamp begins.
  if (!/^[\x21-\x2d\x2f-\x7e]{1,256}$/.test(id))
    throw invalid('malformed', 'webhook-id must be 1 to 256 visible characters without a dot')
  if (!/^[1-9]\d{0,11}$/.test(timestamp))
    throw invalid('malformed', 'webhook-timestamp must be whole seconds since 1970')
  const at = Number(timestamp) * 1_000
  if (now - at > TOLERANCE_MS) throw invalid('late', 'it is older than 5 minutes')
  if (at - now > TOLERANCE_MS) throw invalid('early', 'it is more than 5 minutes ahead of the clock here')
  const version = request === undefined ? WEBHOOK : REQUEST
  const given = signatures.split(' ')
  if (given.length > MOST_SIGNATURES)
    throw invalid('malformed', `webhook-signature holds more than ${MOST_SIGNATURES} signatures`)
  const head = headOf(id, timestamp, request)
  let valid = false
  for (const key of keys) {
    // Compared as texts, because several texts of base64 stand for the same bytes.
    const expected = Buffer.from(`${version},${signature(key, head, body)}`)
    for (const each of given) {
      const found = Buffer.from(each)
      if (found.length === expected.length && nodeCrypto().timingSafeEqual(found, expected)) valid = true
    }
  }
  if (!valid) throw invalid('mismatch', `no signature of the form ${version} fits what was received`)
  return { id, timestamp: at }
}

/** What is signed before the body. */
function headOf(id: string, timestamp: string, request: RequestLine | undefined): string {
  if (request === undefined) return `${id}.${timestamp}.`
  const { method, target, idempotencyKey = '' } = request
  return `${REQUEST}\n${method}\n${target}\n${id}\n${timestamp}\n${idempotencyKey}\n`
}

const signature = (key: KeyObject, head: string, body: string | Uint8Array): string =>
  nodeCrypto().createHmac('sha256', key).update(head).update(body).digest('base64')

function invalid(reason: string, what: string): DeferqError {
  return new DeferqError('INVALID_SIGNATURE', `The signature is not valid: ${what}.`, { details: { reason } })
}
