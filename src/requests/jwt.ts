// Makes the JSON Web Token of a request with jose, which is loaded when the first one is made.

import { createPrivateKey, hash, KeyObject } from 'node:crypto'
import type { CryptoKey, JWK } from 'jose'
import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import { durationMs } from '../base/time.ts'
import type { JwtOptions } from '../tasks/request-params.ts'
import type { Key } from './keys.ts'

const EXPIRES_IN = '5m'
// RFC 7518, 3.2: no shorter than what the hash puts out.
const LEAST_BYTES = { HS256: 32, HS384: 48, HS512: 64 } as const

export async function makeJwt(
  { algorithm = 'HS512', issuer, audience, subject, expiresIn = EXPIRES_IN, claims, key: name }: JwtOptions,
  key: Key,
  id: string,
  body: Buffer | undefined,
): Promise<string> {
  const jose = await loadJose()
  const now = Math.floor(environment.now() / 1_000)
  const token = new jose.SignJWT({
    ...claims,
    bodySha256: hash('sha256', body ?? '', 'base64url'),
  })
    .setProtectedHeader({ alg: algorithm, typ: 'JWT' })
    .setJti(id)
    .setIssuedAt(now)
    .setExpirationTime(now + Math.ceil(durationMs(expiresIn, 'jwt.expiresIn') / 1_000))
  if (issuer !== undefined) token.setIssuer(issuer)
  if (audience !== undefined) token.setAudience(audience)
  if (subject !== undefined) token.setSubject(subject)
  return token.sign(signingKey(algorithm, key, name))
}

function signingKey(
  algorithm: NonNullable<JwtOptions['algorithm']>,
  key: Key,
  name: string,
): CryptoKey | KeyObject | JWK | Uint8Array {
  if (algorithm === 'EdDSA') {
    if (typeof key !== 'string') return key as KeyObject | CryptoKey | JWK
    try {
      return createPrivateKey(key)
    } catch {
      // Without the cause: OpenSSL might quote what it could not read.
      throw unfit(name, 'can’t be read as a private key in PEM, as EdDSA needs one')
    }
  }
  const secret = typeof key === 'string' ? new TextEncoder().encode(key) : key
  const size =
    secret instanceof Uint8Array
      ? secret.length
      : secret instanceof KeyObject
        ? secret.symmetricKeySize
        : undefined
  if (size !== undefined && size < LEAST_BYTES[algorithm])
    throw unfit(name, `has ${size} bytes, and ${algorithm} needs at least ${LEAST_BYTES[algorithm]}`)
  return secret as KeyObject | CryptoKey | JWK | Uint8Array
}

function unfit(name: string, why: string): DeferqError {
  return new DeferqError('INVALID_OPTION', `The key '${name}' ${why}.`)
}

async function loadJose(): Promise<typeof import('jose')> {
  try {
    return await import('jose')
  } catch (cause) {
    throw new DeferqError(
      'MISSING_DEPENDENCY',
      'A request with a JWT needs the package jose: npm install jose',
      {
        cause,
      },
    )
  }
}
