// What every server-side script begins with.
import { BASICS } from './basics.ts'
import { ENDS } from './ends.ts'
import { ENTRIES } from './entries.ts'
import { LANES } from './lanes.ts'

/**
 * Input of every script: KEYS[1] the shard's tag, ARGV[1] '1' where PUBLISH tells how many heard it ('0' on
 * a cluster), with a '+' behind it where the same may have been done already, because its answer was lost. A script that changes something ends with `finish()`, which writes what was gathered: entries,
 * tickets, counters, hints.
 */
export const PRELUDE: readonly string[] = [BASICS, ENTRIES, LANES, ENDS]
