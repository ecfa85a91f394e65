// The options of a Redis engine.
import type { ConnectionOptions } from 'node:tls'

export interface RedisEngineOptions {
  /** redis://, rediss://, redis+cluster://, redis+sentinel:// and the like; options: prefix, shards, name. */
  url: string
  /** Before each key; 'deferq' by default. Two prefixes are two stores. */
  prefix?: string
  /**
   * How many parts the keys are spread over; 1 by default, 12 on a cluster. Fixed once a store has been used.
   */
  shards?: number
  /** How long a call may take before it fails with STORE_UNAVAILABLE; 5 seconds by default. */
  timeoutMs?: number
  /** Certificates and the like, for rediss:// */
  tls?: ConnectionOptions
}
