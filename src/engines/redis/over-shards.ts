// The verbs that go over all shards of a store: sweep, list, count, and the invalidation of a name in one of them.
import type { Counts, Entry, Filter, Page, Swept } from '../../contract/engine.ts'
import { MAX_BATCH } from '../../contract/engine.ts'
import { invalidateNameArgs } from './invalidate.ts'
import { sweepArgs, sweepReply } from './leases.ts'
import { addCounts, countsOf, listArgs, listReply, readPosition } from './runs.ts'
import type { Session } from './session.ts'
import { deal } from './shards.ts'

/** How many keys one step of an invalidation by name looks at: about 1 ms. */
const SCAN_COUNT = 500
/** How many steps a page may take before it is answered, however little was found. */
const MAX_STEPS = 20

/** `turn`: counts sweeps, so that another shard gets the larger share each time. `failure`: of a shard that could not be swept. */
export async function sweepShards(
  session: Session,
  limit: number,
  turn: number,
): Promise<{ swept: Swept; failure?: unknown }> {
  const swept: Swept = { requeued: [], failed: [], abandoned: [], removed: 0 }
  const failures: unknown[] = []
  let shards = [...session.tags.keys()]
  let left = limit
  // Where a shard has less to sweep than its share, the others get the rest of it in another round.
  for (let round = turn; shards.length > 0 && left > 0 && failures.length === 0; round++) {
    const shares = deal(left, shards.length, round)
    const more: number[] = []
    await Promise.all(
      shards.map(async (shard, index) => {
        const share = shares[index] as number
        if (share === 0) {
          more.push(shard)
          return
        }
        try {
          const reply = sweepReply(await session.run('sweep', shard, sweepArgs(share)))
          swept.requeued.push(...reply.requeued)
          swept.failed.push(...reply.failed)
          swept.abandoned.push(...reply.abandoned)
          left -= reply.requeued.length + reply.failed.length + reply.abandoned.length
          if (reply.more) more.push(shard)
        } catch (error) {
          failures.push(error)
        }
      }),
    )
    shards = more
  }
  // A shard that can't be reached keeps none of the others waiting.
  if (failures.length === session.tags.length) throw failures[0]
  return failures.length > 0 ? { swept, failure: failures[0] } : { swept }
}

export async function listShards(
  session: Session,
  filter: Filter,
  cursor: string | undefined,
): Promise<Page> {
  const limit = Math.max(1, Math.min(filter.limit ?? 100, MAX_BATCH))
  const at = readPosition(cursor, session.tags.length)
  // By id, because SCAN may show a key twice.
  const entries = new Map<string, Entry>()
  for (let step = 0; step < MAX_STEPS && entries.size < limit; step++) {
    const args = listArgs(at, limit - entries.size, filter)
    const page = listReply(await session.run('list', at.shard, args))
    for (const entry of page.entries) entries.set(entry.id, entry)
    at.cursor = page.cursor
    at.skip = page.skip
    if (at.cursor === '0' && at.skip === 0 && ++at.shard === session.tags.length)
      return { entries: [...entries.values()] }
  }
  return { entries: [...entries.values()], cursor: `${at.shard}:${at.cursor}:${at.skip}` }
}

export async function countShards(session: Session): Promise<Counts> {
  const fields = new Map<string, number>()
  const paused = new Set<string>()
  await Promise.all(
    session.tags.map(async (_tag, shard) => addCounts(fields, paused, await session.run('count', shard, []))),
  )
  return countsOf(fields, paused)
}

export async function invalidateName(session: Session, shard: number, name: string): Promise<number> {
  let changed = 0
  let cursor = '0'
  do {
    const args = invalidateNameArgs(name, cursor, SCAN_COUNT)
    const [next, count] = (await session.run('invalidateName', shard, args)) as [string, number]
    changed += count
    cursor = next
  } while (cursor !== '0')
  return changed
}
