// Lets a request in: signed by one of the secrets, once, or (where the handler says so) sent from this very machine.
import { isIP } from 'node:net'
import { DeferqError } from '../base/errors.ts'
import type { Keys } from '../signing/signature.ts'
import { verify } from '../signing/signature.ts'
import type { Call } from './call.ts'
import type { Nonces } from './nonces.ts'

export type Guard = (call: Call) => Promise<Uint8Array>

/** Nothing of the body is looked into before its signature is found valid, and no id is spent. */
export function signed(keys: Keys, nonces: Nonces, mostBytes: number): Guard {
  return async (call) => {
    // Before the body, which costs memory.
    if (call.header('webhook-signature') === undefined) verify(keys, () => undefined, { body: '' })
    const body = await call.body(mostBytes)
    const { method, target } = call
    const idempotencyKey = call.header('idempotency-key')
    const request = { method, target, ...(idempotencyKey === undefined ? {} : { idempotencyKey }) }
    const { id, timestamp } = verify(keys, call.header, { body, request })
    await nonces.spend(id, timestamp)
    return body
  }
}

export function localOnly(mostBytes: number): Guard {
  return async (call) => {
    checkLocal(call)
    return call.body(mostBytes)
  }
}

/**
 * A loopback peer alone is not enough: a proxy on this machine is one too, and so is a browser here that shows somebody else's
 * page, under a name that leads to this machine.
 */
export function checkLocal({ peer, header }: Call): void {
  if (peer === undefined || !isLoopback(peer))
    throw notLocal(
      peer === undefined
        ? 'where it comes from is not known: mount the handler with toNodeListener()'
        : 'it comes from another machine',
    )
  if (header('forwarded') !== undefined || header('x-forwarded-for') !== undefined)
    throw notLocal('it comes through a proxy')
  const host = (header('host') ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  if (host.toLowerCase() !== 'localhost' && !(isIP(host) !== 0 && isLoopback(host)))
    throw notLocal('its Host names another machine')
  if (header('origin') !== undefined) throw notLocal('it comes from a page in a browser')
}

const isLoopback = (address: string): boolean =>
  /^(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/i.test(address) || address === '::1'

const notLocal = (why: string): DeferqError =>
  new DeferqError(
    'INVALID_SIGNATURE',
    `Only requests from this machine are answered without a signature, and this is none: ${why}.`,
    { details: { reason: 'not_local' } },
  )
