// Signs an outgoing request as Standard Webhooks has it, with the worker's secret or with one of its keys.
import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import type { SignatureHeaders } from '../signing/signature.ts'
import { keysOf, sign as signed } from '../signing/signature.ts'
import type { Secrets } from './keys.ts'
import { textNamed } from './keys.ts'

/** With several secrets one signature by each: the receiver takes any that it knows. */
export function signatureHeaders(
  sign: string | true,
  secrets: Secrets,
  id: string,
  body: Buffer | undefined,
): SignatureHeaders {
  const now = environment.now()
  const [first, ...others] = secretsOf(sign, secrets).map((key) =>
    signed([key], { body: body ?? '' }, { id, now }),
  ) as [SignatureHeaders]
  const signatures = [first, ...others].map((headers) => headers['webhook-signature'])
  return { ...first, 'webhook-signature': signatures.join(' ') }
}

function secretsOf(sign: string | true, { keys, secret }: Secrets): ReturnType<typeof keysOf> {
  if (sign !== true) return keysOf(textNamed(keys, sign), `The key '${sign}'`)
  const own = secret ?? process.env.DEFERQ_SECRET
  if (own !== undefined) return keysOf(own, secret === undefined ? 'DEFERQ_SECRET' : 'httpRequest(): secret')
  throw new DeferqError(
    'INVALID_OPTION',
    'This worker has no secret to sign a webhook with: set DEFERQ_SECRET (`deferq generate-secret` makes one), or give httpRequest({ secret }).',
  )
}
