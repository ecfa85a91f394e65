// What an engine learns of a store when it opens: its number of shards, and what it can't promise.

import type { Connection } from '../../drivers/redis-connection.ts'
import type { Target } from '../../drivers/redis-url.ts'
import { DeferqError } from '../../errors.ts'

/** The layout of the keys; another one is another number. */
const LAYOUT = 1

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

export interface Caveats {
  caveats: string[]
  /** Worth a warning in the log, because it is likely to be a mistake. */
  warnings: string[]
}

/** INFO tells all of it, and is allowed where CONFIG is not. What it does not tell is not guessed. */
export async function caveatsOf(connection: Connection, target: Target): Promise<Caveats> {
  const caveats: string[] = []
  const warnings: string[] = []
  const infos = await connection.info('everything').catch(() => [])
  const says = (field: string): string | undefined =>
    infos
      .map((info) => new RegExp(`^${field}:([^\\r\\n]*)`, 'm').exec(info)?.[1])
      .find((value) => value !== undefined)
  const policy = infos
    .map((info) => /^maxmemory_policy:([^\r\n]*)/m.exec(info)?.[1])
    .find((one) => one !== undefined && one !== 'noeviction')
  if (policy !== undefined) {
    const lost = policy.startsWith('volatile') ? 'results before their time' : 'tasks and results'
    const text =
      `maxmemory-policy is ${policy}: when its memory is full, Redis deletes ${lost}, without a word. ` +
      'Set it to noeviction.'
    caveats.push(text)
    warnings.push(`Redis at ${target.masked}: ${text}`)
  }
  if (says('aof_enabled') === '0') {
    caveats.push(
      'Redis runs without an append-only file: a crash loses what was dispatched since its last snapshot.',
    )
  } else {
    caveats.push('The append-only file is usually synced once a second: a crash may lose that second.')
  }
  if (target.kind !== 'single' || Number(says('connected_slaves') ?? 0) > 0) {
    caveats.push('Redis replicates asynchronously: a failover may lose the last writes, acknowledged or not.')
  }
  return { caveats, warnings }
}
