// Signs an outgoing request as Standard Webhooks has it, with the worker's secret or with one of its keys.
import { createHmac } from 'node:crypto'
import { DeferqError } from '../errors.ts'
import type { Secrets } from './compose.ts'
import { keyNamed } from './keys.ts'

export function signatureHeaders(
  sign: string | true,
  secrets: Secrets,
  id: string,
  body: Buffer | undefined,
): Record<string, string> {
  const timestamp = Math.floor(Date.now() / 1_000)
  const signatures = secretsOf(sign, secrets).map((secret) => {
    const mac = createHmac('sha256', secret).update(`${id}.${timestamp}.`)
    return `v1,${mac.update(body ?? '').digest('base64')}`
  })
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signatures.join(' '),
  }
}

/** `whsec_` says that what follows is base64; any other text is taken as it is. */
function bytesOf(secret: string): Buffer {
  return secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret)
}

function secretsOf(sign: string | true, { keys, secret }: Secrets): readonly (Buffer | Uint8Array)[] {
  if (sign !== true) {
    const key = keyNamed(keys, sign)
    if (typeof key === 'string') return [bytesOf(key)]
    if (key instanceof Uint8Array) return [key]
    throw new DeferqError('INVALID_OPTION', `The key '${sign}' must be text or bytes to sign a webhook with.`)
  }
  const own = [secret ?? process.env.DEFERQ_SECRET ?? []].flat()
  if (own.length > 0 && own.every((each) => each !== '')) return own.map(bytesOf)
  throw new DeferqError(
    'INVALID_OPTION',
    'This worker has no secret to sign a webhook with: set DEFERQ_SECRET (`deferq generate-secret` makes one), or give httpRequest({ secret }).',
  )
}
