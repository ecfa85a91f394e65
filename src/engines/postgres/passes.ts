// Calls of functions on the server, and the verbs that take several of them: invalidate, list, and the end of a wait.
import { environment } from '../../base/environment.ts'
import type { Filter, Page } from '../../contract/engine.ts'
import { MAX_BATCH } from '../../contract/engine.ts'
import type { PostgresDriver } from '../../drivers/postgres.ts'
import { quoted } from '../../drivers/postgres.ts'
import type { EntryRow } from './rows.ts'
import { entryOf, STATUSES } from './rows.ts'

/** Calls a function on the server, again if its answer was lost. */
export type Call = (name: string, values: readonly unknown[]) => Promise<unknown>

/** How long closing waits until this instance's wait is taken back. */
const LEAVE_MS = 500
/** How many rows one step of a list or an invalidation by name looks at: some milliseconds. */
const PAGE_ROWS = 10_000
const PASS_ROWS = 500
/** A notification holds 8,000 bytes. */
const KEYS_PER_NEWS = 100

/** `everybody`: the channel that every instance hears. */
export async function invalidateKeys(
  call: Call,
  everybody: string,
  selected: readonly string[],
): Promise<number> {
  const keys = [...new Set(selected)].filter((key) => /^[0-9a-f]{64}$/.test(key)).sort()
  const news: string[] = []
  for (let at = 0; at < keys.length; at += KEYS_PER_NEWS)
    news.push(JSON.stringify({ keys: keys.slice(at, at + KEYS_PER_NEWS) }))
  return (await call('invalidate', [JSON.stringify(keys), everybody, JSON.stringify(news)])) as number
}

interface Pass {
  lane: number | null
  expiry: number
  before: number | null
}

export async function invalidateName(call: Call, everybody: string, name: string): Promise<number> {
  const forgotten = new Set<string>()
  let news: string[] = [JSON.stringify({ name })]
  let at: Pass = { lane: 0, expiry: 0, before: null }
  do {
    const { lane, expiry, before } = at
    const values = [name, everybody, JSON.stringify(news), lane, expiry, before, PASS_ROWS]
    const step = (await call('invalidate_name', values)) as Pass & { forgotten: string[] }
    for (const key of step.forgotten) forgotten.add(key)
    at = step
    news = []
  } while (at.lane !== null)
  return forgotten.size
}

export async function listPage(call: Call, filter: Filter, cursor: string | undefined): Promise<Page> {
  const limit = Math.max(1, Math.min(filter.limit ?? 100, MAX_BATCH))
  const { status, name, queue } = filter
  const wanted = { name, queue, status: status === undefined ? undefined : STATUSES.indexOf(status) }
  const [, key = '', place = '-1'] = /^([0-9a-f]{64}):(\d{1,18})$/.exec(cursor ?? '') ?? []
  const values = [JSON.stringify(wanted), Buffer.from(key, 'hex'), place, limit, PAGE_ROWS]
  const page = (await call('list_runs', values)) as { entries: EntryRow[]; cursor: string | null }
  const entries = page.entries.map(entryOf)
  return page.cursor === null ? { entries } : { entries, cursor: page.cursor }
}

/** The statement that calls a function with so many arguments. */
export function callOf(schema: string, name: string, count: number): string {
  const places = Array.from({ length: count }, (_, index) => `$${index + 1}`)
  return `select ${quoted(schema)}.${name}(${places.join(', ')}) as answer`
}

/** A wait that stays costs one hint, and is swept away one day. */
export async function takeBackWaits(driver: PostgresDriver, schema: string, address: string): Promise<void> {
  const leave = driver.query(`delete from ${quoted(schema)}.waits where address = $1`, [address], true)
  const late = new Promise<void>((resolve) => environment.setTimeout(resolve, LEAVE_MS).unref())
  await Promise.race([leave.catch(() => undefined), late])
}
