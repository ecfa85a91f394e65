// Which queues and names are paused: one document, that every claim reads under its locks.
import type { Lanes } from '../../contract/engine.ts'
import type { Read } from '../../drivers/keyv.ts'
import { parsed } from './document-store.ts'

export const writePaused = (paused: readonly Lanes[]): string => JSON.stringify({ v: 1, paused })

/** A document that can't be read pauses nothing, as one that isn't there. */
export function readPaused(text: Read): Lanes[] {
  const json = typeof text === 'string' ? parsed(text) : undefined
  return Array.isArray(json?.paused) ? (json.paused as Lanes[]) : []
}

export const isSame = (a: Lanes, b: Lanes): boolean =>
  'queue' in a ? 'queue' in b && a.queue === b.queue : 'name' in b && a.name === b.name

export const isPaused = (
  paused: readonly Lanes[],
  { queue, name }: { queue: string; name: string },
): boolean => paused.some((lanes) => ('queue' in lanes ? lanes.queue === queue : lanes.name === name))
