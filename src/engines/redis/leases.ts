// The arguments and answers of the verbs `extend` and `sweep`.

import type { Lease, LeaseAnswer, Swept } from '../../contract/engine.ts'
import { leaseLostError } from '../../contract/store-errors.ts'
import { longId, shortId } from './ids.ts'

export function extendArgs(leases: readonly Lease[], leaseMs: number): string[] {
  const args = [String(leaseMs)]
  for (const { id, token, progress } of leases) {
    args.push(shortId(id) + token, progress === undefined ? '' : `p${progress}`)
  }
  return args
}

const LEASE_ANSWERS: Record<string, LeaseAnswer> = { h: 'held', l: 'lost', c: 'cancelled' }

export function extendReply(reply: unknown): LeaseAnswer[] {
  const [letters] = reply as [string]
  return Array.from(letters, (letter) => LEASE_ANSWERS[letter] as LeaseAnswer)
}

// leaseLostError() spells the error; numbers that stand for themselves mark where the script fills in its
// own.
const TEMPLATE = leaseLostError(-111_111, -222_222).replaceAll('-111111', '@A').replaceAll('-222222', '@T')

export const sweepArgs = (limit: number): string[] => [String(limit), TEMPLATE]

export function sweepReply(reply: unknown): Omit<Swept, 'removed'> & { more: boolean } {
  const [requeued, failed, abandoned, more] = reply as [string[], string[], string[], number]
  return {
    requeued: requeued.map((id) => longId(id)),
    failed: failed.map((id) => longId(id)),
    abandoned: abandoned.map((id) => longId(id)),
    more: more === 1,
  }
}
