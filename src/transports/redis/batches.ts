// Parts a batch by what one script can reach: the place of the keys.
import type { Keys } from './keys.ts'

/** The keys of one script call, each named once; items name them by their place, from 1. */
export class KeyList {
  readonly names: string[] = []
  readonly #keys: Keys
  readonly #indices = new Map<string, string>()

  constructor(keys: Keys) {
    this.#keys = keys
  }

  indexOf(queue: string): string {
    let index = this.#indices.get(queue)
    if (index === undefined) {
      index = String(this.names.push(this.#keys.of(queue)))
      this.#indices.set(queue, index)
    }
    return index
  }
}

/** Items by the place that their queues lie in, with their indices. */
function byPlace<Item>(
  items: readonly Item[],
  place: (item: Item) => string,
): { items: Item[]; at: number[] }[] {
  const groups = new Map<string, { items: Item[]; at: number[] }>()
  for (const [index, item] of items.entries()) {
    const key = place(item)
    let group = groups.get(key)
    if (group === undefined) groups.set(key, (group = { items: [], at: [] }))
    group.items.push(item)
    group.at.push(index)
  }
  return [...groups.values()]
}

/** One call per place, at once; answers in the order of the items. */
export async function inPlaces<Item, Result>(
  items: readonly Item[],
  place: (item: Item) => string,
  ask: (items: readonly Item[]) => Promise<Result[]>,
): Promise<Result[]> {
  const results: Result[] = []
  await Promise.all(
    byPlace(items, place).map(async ({ items, at }) => {
      for (const [index, result] of (await ask(items)).entries()) results[at[index] as number] = result
    }),
  )
  return results
}

export const bufferOf = (body: Uint8Array): Buffer =>
  Buffer.from(body.buffer, body.byteOffset, body.byteLength)
