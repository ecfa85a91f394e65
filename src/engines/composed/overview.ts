// What goes through the whole store: lists, forgetting a name, and finding what has expired.

import { DeferqError } from '../../base/errors.ts'
import type { Entry, Filter, Page } from '../../contract/engine.ts'
import { KEY_LENGTH, MAX_BATCH } from '../../contract/engine.ts'
import type { Keyed } from '../../drivers/keyv.ts'
import type { Names, Run } from './document-store.ts'
import { entryOf, isLive, runsIn } from './document-store.ts'

/** Pages in the order of the ids. A store has no cursor of its own, so each page goes through all of it, and holds no more than the page. */
export async function list(
  tasks: Keyed,
  names: Names,
  filter: Filter,
  cursor: string | undefined,
  now: number,
): Promise<Page> {
  const limit = Math.min(filter.limit ?? 100, MAX_BATCH)
  let first = new Map<string, Entry>()
  for await (const run of runsOf(tasks, names)) {
    if (cursor !== undefined && run.id <= cursor) continue
    if (!isLive(run) && (run.expiresAt as number) <= now) continue
    if (filter.status !== undefined && run.status !== filter.status) continue
    if (filter.name !== undefined && run.name !== filter.name) continue
    if (filter.queue !== undefined && run.queue !== filter.queue) continue
    first.set(run.id, entryOf(run))
    if (first.size > 2 * (limit + 1)) first = smallest(first, limit + 1)
  }
  const entries = [...smallest(first, limit + 1).values()]
  if (entries.length <= limit) return { entries }
  entries.pop()
  return { entries, cursor: entries.at(-1)?.id as string }
}

/** Under which something of this name stands. */
export async function keysOf(tasks: Keyed, names: Names, name: string): Promise<string[]> {
  const keys = new Set<string>()
  for await (const run of runsOf(tasks, names)) if (run.name === name) keys.add(run.id.slice(0, KEY_LENGTH))
  return [...keys]
}

/** Runs that have outlived their time. */
export async function expiredIn(tasks: Keyed, names: Names, now: number): Promise<string[]> {
  const ids = new Set<string>()
  for await (const run of runsOf(tasks, names))
    if (!isLive(run) && (run.expiresAt as number) <= now) ids.add(run.id)
  return [...ids]
}

/** Gates of groups whose times have all passed; those where somebody runs or waits have none. */
export async function idleGatesIn(tasks: Keyed, names: Names, now: number): Promise<string[]> {
  const gates: string[] = []
  for await (const [key, , expires] of tasks.scan()) {
    const gate = names.gateAt(key)
    if (gate !== undefined && expires !== undefined && expires <= now) gates.push(gate)
  }
  return gates
}

async function* runsOf(tasks: Keyed, names: Names): AsyncGenerator<Run> {
  if (!tasks.scannable) {
    throw new DeferqError(
      'INVALID_OPTION',
      'The Keyv store of tasks can’t be gone through, so nothing can be listed or forgotten by name: forget by key, or use an adapter with an iterator (Redis, PostgreSQL, SQLite, …).',
    )
  }
  for await (const [key, text] of tasks.scan()) if (names.holdsRuns(key)) yield* runsIn(text)
}

function smallest(entries: Map<string, Entry>, count: number): Map<string, Entry> {
  return new Map([...entries].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, count))
}

/** A run is looked for under its key first; what stands aside is read when it is not there. */
export const keysOfIds = (ids: readonly string[]): string[] => ids.map((id) => id.slice(0, KEY_LENGTH))

export const keysOfAll = (items: readonly { id: string }[]): string[] => keysOfIds(items.map(({ id }) => id))
