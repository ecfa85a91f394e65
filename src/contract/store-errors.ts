// What a store itself says of a run that it ends or brings back, as the JSON form of an error.

/** What `sweep` appends to the errors of a run whose worker vanished, as the JSON form of an error. */
export function leaseLostError(attempt: number, at: number): string {
  return endedByStore(
    attempt,
    at,
    'LEASE_LOST',
    `Attempt ${attempt} ended with its worker: it died, froze or lost the store for longer than its lease.`,
  )
}

/** What `sweep` appends to the errors of a run that nobody asked for any more. */
export function abandonedError(attempt: number, at: number): string {
  return endedByStore(
    attempt,
    at,
    'ABANDONED',
    'Nobody has asked for this run for longer than it was to wait for them.',
  )
}

/** What `admit` appends to the errors of a run that another one took the place of. */
export function supersededError(attempt: number, at: number, by: string): string {
  return endedByStore(attempt, at, 'SUPERSEDED', `Another run took the place of this one: ${by}`, { by })
}

function endedByStore(attempt: number, at: number, code: string, message: string, details?: object): string {
  return JSON.stringify({
    attempt,
    at,
    error: { name: 'DeferqError', code, message, ...(details && { details }) },
  })
}
