// Spreads keys over shards, and shards over the slots of a cluster.
import { shardOf } from '../../contract/engine.ts'

const SLOTS = 16_384

/**
 * The hash tags of n shards. On a cluster each master holds a contiguous range of slots, so the tag of shard
 * i is one whose slot lies near (i + ½)/n of them all: then masters with equal ranges get equally many
 * shards. The same text always gives the same tags.
 */
export function shardTags(prefix: string, shards: number): string[] {
  if (shards === 1) return [`{${prefix}:0}`]
  return Array.from({ length: shards }, (_, shard) => {
    const ideal = ((shard + 0.5) * SLOTS) / shards
    // One in five tags lies within a tenth of the distance between two shards.
    for (let attempt = 0; ; attempt++) {
      const tag = `${prefix}:${shard}.${attempt.toString(36)}`
      if (Math.abs(slotOf(tag) - ideal) <= SLOTS / shards / 10 + 1) return `{${tag}}`
    }
  })
}

/** CRC-16 (XMODEM) of a hash tag, as a cluster computes it. */
export function slotOf(tag: string): number {
  let crc = 0
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++)
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff
  }
  return crc % SLOTS
}

/** The items of one shard, and where each stood in the batch. */
export interface Share<Item> {
  shard: number
  items: Item[]
  at: number[]
}

export function spread<Item>(
  items: readonly Item[],
  shards: number,
  id: (item: Item) => string,
): Share<Item>[] {
  if (items.length === 0) return []
  if (shards === 1) return [{ shard: 0, items: [...items], at: items.map((_, index) => index) }]
  const shares: (Share<Item> | undefined)[] = []
  items.forEach((item, index) => {
    const shard = shardOf(id(item), shards)
    let share = shares[shard]
    if (share === undefined) shares[shard] = share = { shard, items: [], at: [] }
    share.items.push(item)
    share.at.push(index)
  })
  return shares.filter((share) => share !== undefined)
}

/**
 * A call is cut into scripts of at most this many characters, because a script keeps the server from all
 * else.
 */
const MAX_PARCEL = 4_000_000

export function parcels<Item>(items: readonly Item[], lengthOf: (item: Item) => number): Item[][] {
  const cut: Item[][] = []
  let length = Number.POSITIVE_INFINITY
  for (const item of items) {
    const more = lengthOf(item)
    if (length + more > MAX_PARCEL) {
      cut.push([])
      length = 0
    }
    cut.at(-1)?.push(item)
    length += more
  }
  return cut
}

/** Shares out a limit over shards; those that get one more than others begin at another place each turn. */
export function deal(limit: number, shards: number, turn: number): number[] {
  return Array.from({ length: shards }, (_, index) => {
    const place = (index + turn) % shards
    return Math.floor(limit / shards) + (place < limit % shards ? 1 : 0)
  })
}
