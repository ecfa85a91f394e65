// The answer of a claim on the server.
import type { Claims } from '../../contract/engine.ts'
import type { EntryRow } from './rows.ts'
import { claimedOf } from './rows.ts'

export interface Took {
  claimed: EntryRow[]
  nextDueMs: number | null
}

export function claimsOf({ claimed, nextDueMs }: Took): Claims {
  const claims = { claimed: claimed.map(claimedOf) }
  return nextDueMs === null ? claims : { ...claims, nextDueMs }
}
