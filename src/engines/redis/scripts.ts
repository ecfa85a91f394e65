// All scripts by name, with the digests they are called by.
import { createHash } from 'node:crypto'
import type { Script } from '../../drivers/redis-connection.ts'
import { ADMIT } from './admit.ts'
import { INVALIDATE_KEYS, INVALIDATE_NAME } from './invalidate.ts'
import { EXTEND, SWEEP } from './leases.ts'
import { numbered } from './lua/entries.ts'
import { shake } from './lua/shake.ts'
import { CANCEL, COUNT, LEAVE, LIST, READ } from './runs.ts'
import { SETTLE } from './settle.ts'

const SOURCES = {
  admit: ADMIT,
  settle: SETTLE,
  extend: EXTEND,
  sweep: SWEEP,
  read: READ,
  cancel: CANCEL,
  invalidateKeys: INVALIDATE_KEYS,
  invalidateName: INVALIDATE_NAME,
  list: LIST,
  count: COUNT,
  leave: LEAVE,
}

export type ScriptName = keyof typeof SOURCES

export type Scripts = Record<ScriptName, Script>

export function compile(rewrite: (source: string, name: string) => string = (source) => source): Scripts {
  const entries = Object.entries(SOURCES).map(([name, original]) => {
    const source = shake(numbered(rewrite(original, name)))
    return [name, { source, sha: createHash('sha1').update(source).digest('hex') }]
  })
  return Object.fromEntries(entries) as Scripts
}

export const SCRIPTS: Scripts = compile()
