// Reaches into a transaction that is somebody else's: anything that has `query(text, values)`.
import { DeferqError } from '../../base/errors.ts'

interface Queryable {
  query(text: string, values: unknown[]): Promise<unknown>
}

/** One call of a function on the server, in the caller's transaction; its answer. */
export function asTransaction(tx: unknown): (text: string, values: unknown[]) => Promise<unknown> {
  if (typeof tx !== 'object' || tx === null || typeof (tx as Queryable).query !== 'function') {
    throw new DeferqError(
      'INVALID_OPTION',
      'tx must have query(text, values), as a client of the package pg has it, and be in a transaction of the database where the store lies.',
    )
  }
  return async (text, values) => {
    const result = await (tx as Queryable).query(text, values)
    const rows = Array.isArray(result) ? result : (result as { rows?: unknown[] } | undefined)?.rows
    const answer = (rows?.[0] as { answer?: unknown } | undefined)?.answer
    // Some clients leave JSON to their callers.
    const read = typeof answer === 'string' ? (JSON.parse(answer) as unknown) : answer
    if (read !== undefined && read !== null) return read
    throw new DeferqError(
      'INVALID_OPTION',
      'tx.query(text, values) answered no rows: it must resolve to { rows } or to a list.',
    )
  }
}
