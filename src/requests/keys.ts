// The worker's keys: a request names them, and only the worker knows what they are.
import type { KeyObject, webcrypto } from 'node:crypto'
import { DeferqError } from '../base/errors.ts'

/** A token, a shared secret, or a private key: as text (PEM too), bytes, a JWK, or what node:crypto makes of one. */
export type Key = string | Uint8Array | KeyObject | webcrypto.CryptoKey | { readonly kty: string }
/** Undefined is refused where it is given: an environment variable that is not set must not be found out by a request. */
export type Keys = Readonly<Record<string, Key | undefined>>

export interface Secrets {
  readonly keys: Keys
  /** What webhooks are signed with; several while they are being replaced. */
  readonly secret: string | readonly string[] | undefined
}

export function checkKeys(keys: Keys): void {
  const wrong =
    typeof keys !== 'object' || keys === null
      ? 'must be an object of names and keys'
      : Object.entries(keys)
          .filter(
            ([, key]) => (typeof key !== 'string' && typeof key !== 'object') || key === null || key === '',
          )
          .map(([name]) => `has no usable key under '${name}'`)[0]
  if (wrong !== undefined) throw new DeferqError('INVALID_OPTION', `httpRequest(): keys ${wrong}.`)
}

export function keyNamed(keys: Keys, name: string): Key {
  const key = Object.hasOwn(keys, name) ? keys[name] : undefined
  if (key !== undefined) return key
  throw new DeferqError(
    'INVALID_OPTION',
    `This worker has no key called '${name}': give it to httpRequest({ keys: { '${name}': … } }).`,
  )
}

/** Where the key stands in a header, or signs. */
export function textNamed(keys: Keys, name: string): string {
  const key = keyNamed(keys, name)
  if (typeof key === 'string') return key
  throw new DeferqError('INVALID_OPTION', `The key '${name}' is no text, as it must be here.`)
}
