// What an engine learns of a store when it opens: its number of shards.

import { DeferqError } from '../../base/errors.ts'
import type { Connection } from '../../drivers/redis-connection.ts'

/** The layout of the keys; another one is another number. */
const LAYOUT = 2

/**
 * The number of shards is part of where a key lies, so the first process to open a store writes it down, and
 * the others take it from there. One that was told another number would look for keys where they are not.
 */
export async function bindStore(
  connection: Connection,
  prefix: string,
  wanted: number | undefined,
  usual: number,
): Promise<number> {
  const key = `${prefix}:store`
  const proposed = `${LAYOUT} ${wanted ?? usual}`
  const stored = await connection.command(async (client) => {
    await client.setnx(key, proposed)
    return (await client.get(key)) ?? proposed
  })
  const [layout, shards] = stored.split(' ').map(Number)
  if (layout !== LAYOUT || shards === undefined || !Number.isInteger(shards)) {
    throw new DeferqError(
      'STORE_MISMATCH',
      `The store under the prefix '${prefix}' was written by another version of deferq (${key} says '${stored}'). ` +
        'Use that version, or another prefix.',
    )
  }
  if (wanted !== undefined && shards !== wanted) {
    throw new DeferqError(
      'STORE_MISMATCH',
      `The store under the prefix '${prefix}' has ${shards} shards, and ${wanted} were asked for. Leave 'shards' out, or ` +
        'use another prefix: the number is fixed once a store has been used.',
    )
  }
  return shards
}
