// Finds rows by the ids of runs.
import type { Connection } from './connection.ts'
import type { Row } from './rows.ts'
import { asideOf, FULL_ROW, hashOf } from './rows.ts'

/** The runs with these ids, and what stands under their keys (an id may be a key). The caller compares the ids: hashes may collide. */
export function rowsOf(connection: Connection, ids: readonly string[]): Row[] {
  const places = ids.map((id) => `"${hashOf(id)}":${asideOf(id)}`)
  return connection.statement(ROWS).all(`{${places.join()}}`) as Row[]
}

// In: {hash: aside, …}, because a list of pairs took 2 µs a run longer to read.
const ROWS = `
  SELECT ${FULL_ROW} FROM json_each(?) j CROSS JOIN runs r
  WHERE r.hash = CAST(j.key AS INTEGER) AND r.slot IN (0, 1, 2, j.value)`
