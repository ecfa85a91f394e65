// Signatures: those of the package standardwebhooks hold here, ours hold there, and the two forms are never mistaken.
import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import type { SignatureHeaders, Unsigned } from '../../src/signing/signature.ts'
import { keysOf, sign, TOLERANCE_MS, verify } from '../../src/signing/signature.ts'

const SECRET = `whsec_${randomBytes(32).toString('base64')}`
const PLAIN = 'correct horse battery staple ünd 7 more'
const keys = keysOf(SECRET, 'secret')
const body = '{"type":"report.made","data":{"name":"Ünïcødé 🎉"}}'
const request = { method: 'POST', target: '/deferq/tasks?a=1' }

const of =
  (headers: SignatureHeaders) =>
  (name: keyof SignatureHeaders): string =>
    headers[name]
const reasonOf = (headers: Partial<SignatureHeaders>, message: Unsigned, now?: number): unknown => {
  try {
    verify(keys, (name) => headers[name], message, now)
  } catch (error) {
    return (error as { details: { reason: string } }).details.reason
  }
  return undefined
}

describe('beside the package standardwebhooks', () => {
  test('a webhook signed here is verified there', () => {
    const headers = sign(keys, { body })
    expect(new Webhook(SECRET).verify(body, { ...headers })).toEqual(JSON.parse(body))
  })

  test('a webhook signed there is verified here', () => {
    const at = new Date()
    const headers = {
      'webhook-id': 'msg_2KWPBgLlAfxdpx2AI54pPJ85f4W',
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': new Webhook(SECRET).sign('msg_2KWPBgLlAfxdpx2AI54pPJ85f4W', at, body),
    }
    expect(verify(keys, of(headers), { body: Buffer.from(body) }).id).toBe(headers['webhook-id'])
  })

  test('a plain secret is the raw form there', () => {
    const headers = sign(keysOf(PLAIN, 'secret'), { body })
    const raw = new Webhook(Buffer.from(PLAIN), { format: 'raw' })
    expect(raw.verify(body, { ...headers })).toEqual(JSON.parse(body))
  })

  test('neither form passes for the other', () => {
    const asRequest = sign(keys, { body, request })
    const renamed = {
      ...asRequest,
      'webhook-signature': asRequest['webhook-signature'].replace('v1r,', 'v1,'),
    }
    expect(reasonOf(renamed, { body })).toBe('mismatch')
    expect(() => new Webhook(SECRET).verify(body, renamed)).toThrow()
    const asWebhook = sign(keys, { body })
    expect(reasonOf(asWebhook, { body, request })).toBe('mismatch')
  })
})

test('several secrets: the first signs, each verifies, so that one can take the place of another', () => {
  const [old, fresh] = [keysOf(PLAIN, 'a'), keysOf([SECRET, PLAIN], 'b')]
  expect(verify(fresh, of(sign(old, { body, request })), { body, request })).toBeTruthy()
  const both = sign(keys, { body, request })
  const id = both['webhook-id']
  const signatures = `v2,x v1r,${'A'.repeat(43)}= ${sign(old, { body, request }, { id })['webhook-signature']} ${both['webhook-signature']}`
  expect(verify(keys, of({ ...both, 'webhook-signature': signatures }), { body, request }).id).toBe(id)
})

test('each part is covered', () => {
  const headers = sign(keys, { body, request: { ...request, idempotencyKey: 'k' } })
  const covered = { ...request, idempotencyKey: 'k' }
  expect(reasonOf(headers, { body, request: covered })).toBeUndefined()
  expect(reasonOf(headers, { body: `${body} `, request: covered })).toBe('mismatch')
  expect(reasonOf(headers, { body, request: { ...covered, method: 'PUT' } })).toBe('mismatch')
  expect(reasonOf(headers, { body, request: { ...covered, target: '/deferq/tasks' } })).toBe('mismatch')
  expect(reasonOf(headers, { body, request })).toBe('mismatch')
  expect(reasonOf({ ...headers, 'webhook-id': 'other' }, { body, request: covered })).toBe('mismatch')
  const later = String(Number(headers['webhook-timestamp']) + 1)
  expect(reasonOf({ ...headers, 'webhook-timestamp': later }, { body, request: covered })).toBe('mismatch')
})

test('what is missing, malformed, late or early is refused, each for its reason', () => {
  const now = 1_800_000_000_000
  const headers = sign(keys, { body }, { now })
  expect(reasonOf(headers, { body }, now + TOLERANCE_MS)).toBeUndefined()
  expect(reasonOf(headers, { body }, now - TOLERANCE_MS)).toBeUndefined()
  expect(reasonOf(headers, { body }, now + TOLERANCE_MS + 1)).toBe('late')
  expect(reasonOf(headers, { body }, now - TOLERANCE_MS - 1)).toBe('early')
  for (const name of Object.keys(headers))
    expect(reasonOf({ ...headers, [name]: '' }, { body })).toBe('missing')
  for (const id of ['a.b', 'a b', 'ü', 'x'.repeat(257)])
    expect(reasonOf({ ...headers, 'webhook-id': id }, { body }, now)).toBe('malformed')
  for (const at of ['1e9', '01800000000', '1800000000.5', '-1', 'NaN', '9'.repeat(13)])
    expect(reasonOf({ ...headers, 'webhook-timestamp': at }, { body }, now)).toBe('malformed')
  const many = Array.from({ length: 11 }, () => headers['webhook-signature']).join(' ')
  expect(reasonOf({ ...headers, 'webhook-signature': many }, { body }, now)).toBe('malformed')
  expect(reasonOf({ ...headers, 'webhook-signature': 'v1' }, { body }, now)).toBe('mismatch')
})

test('a secret is long enough, well formed, and in no message', () => {
  for (const secret of [
    '',
    'short',
    [],
    ['short'],
    'whsec_',
    'whsec_!!!!',
    'whsec_c2hvcnQ=',
    undefined,
    [7],
  ]) {
    expect(() => keysOf(secret as string, 'secret')).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    )
  }
  expect(() => keysOf('my own little secret', 'secret')).toThrow(/^(?!.*little).*$/)
})
