// Parts a batch by size, so that one command never holds more than a server or a connection should take at once.

/** Blocks a single-threaded server for a few milliseconds. */
const PARCEL_BYTES = 4_000_000

export function parcels<Item>(items: readonly Item[], bytes: (item: Item) => number): Item[][] {
  const all: Item[][] = []
  let size = Number.POSITIVE_INFINITY
  for (const item of items) {
    if (size + bytes(item) > PARCEL_BYTES) {
      all.push([])
      size = 0
    }
    all.at(-1)?.push(item)
    size += bytes(item)
  }
  return all
}
