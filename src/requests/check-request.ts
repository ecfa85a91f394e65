// What the headers and the token of an outgoing request must look like.
import { DeferqError } from '../base/errors.ts'
import { durationMs } from '../base/time.ts'
import { checkKnown } from '../tasks/check-options.ts'
import type { HeaderValue, JwtOptions } from '../tasks/request-params.ts'

// How the message is framed and routed is not the caller's to say.
const OURS =
  /^(host|content-length|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|proxy-.*)$/
const ALGORITHMS = ['HS256', 'HS384', 'HS512', 'EdDSA']
const OF_JWT = ['key', 'algorithm', 'issuer', 'audience', 'subject', 'expiresIn', 'claims', 'header']

export function checkHeaders(headers: Readonly<Record<string, HeaderValue>>, where: string): void {
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers))
    throw unfit(`${where}: headers must be an object of names and values`)
  const seen = new Set<string>()
  for (const [name, value] of Object.entries(headers)) {
    const at = `${where}: the header ${JSON.stringify(name).slice(0, 60)}`
    const lower = name.toLowerCase()
    if (OURS.test(lower)) throw unfit(`${at} is set by the sender itself`)
    if (seen.has(lower)) throw unfit(`${at} is there twice`)
    seen.add(lower)
    checkName(name, at)
    if (typeof value === 'string') checkValue(value, at)
    else if (!isKey(value))
      throw unfit(`${at} must be text, or { key: 'the name of one of the worker’s keys' }`)
  }
}

export function checkJwt(jwt: JwtOptions, where: string): void {
  checkKnown(jwt, OF_JWT, `${where}: jwt`)
  const { key, algorithm = 'HS512', expiresIn, claims = {}, header = 'authorization' } = jwt
  if (!isKey({ key })) throw unfit(`${where}: jwt.key must be the name of one of the worker’s keys`)
  if (!ALGORITHMS.includes(algorithm))
    throw unfit(`${where}: jwt.algorithm is '${String(algorithm)}': use ${ALGORITHMS.join(', ')}`)
  if (expiresIn !== undefined) durationMs(expiresIn, `${where}: jwt.expiresIn`)
  for (const name of ['issuer', 'audience', 'subject'] as const) {
    if (jwt[name] !== undefined && typeof jwt[name] !== 'string')
      throw unfit(`${where}: jwt.${name} must be text`)
  }
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims))
    throw unfit(`${where}: jwt.claims must be an object`)
  checkName(header, `${where}: jwt.header`)
  if (OURS.test(header.toLowerCase())) throw unfit(`${where}: jwt.header is set by the sender itself`)
}

/** Also for what a key holds: its value is in no message. */
export function checkValue(value: string, where: string): void {
  if (/[^\t\x20-\x7e\x80-\xff]/.test(value))
    throw unfit(`${where} has a value with characters that no header can have`)
}

function checkName(name: string, where: string): void {
  if (typeof name !== 'string' || !/^[\w!#$%&'*+.^`|~-]+$/.test(name))
    throw unfit(`${where} has no valid name`)
}

const isKey = (value: unknown): boolean => {
  const { key } = (value ?? {}) as { key?: unknown }
  return typeof key === 'string' && key !== ''
}

function unfit(message: string): DeferqError {
  return new DeferqError('INVALID_OPTION', `${message}.`)
}
