// Keys and ids: how long they are, and in which shard they lie.

/** A key is 64 lower-case hex characters; an id is its key and 24 more. Engines may shard by the first 8. */
export const KEY_LENGTH = 64
export const ID_LENGTH = 88
export const SHARD_LENGTH = 8

/** The shard of an id or key: its first 8 hexadecimal characters, modulo the number of shards. */
export const shardOf = (idOrKey: string, shards: number): number =>
  shards === 1 ? 0 : Number.parseInt(idOrKey.slice(0, SHARD_LENGTH), 16) % shards
