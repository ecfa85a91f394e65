// All scripts by name, as functions of one library and as texts for servers that know no functions.
import { createHash } from 'node:crypto'
import type { Script } from '../../drivers/redis-connection.ts'
import { ADMIT } from './admit.ts'
import { INVALIDATE_KEYS, INVALIDATE_NAME } from './invalidate.ts'
import { EXTEND, SWEEP } from './leases.ts'
import { numbered } from './lua/layout.ts'
import { libraryOf } from './lua/library.ts'
import { PRELUDE } from './lua/prelude.ts'
import { CANCEL, COUNT, LEAVE, LIST, PAUSE, PROMOTE, READ } from './runs.ts'
import { SETTLE } from './settle.ts'

const SOURCES = {
  admit: ADMIT,
  settle: SETTLE,
  extend: EXTEND,
  sweep: SWEEP,
  read: READ,
  cancel: CANCEL,
  promote: PROMOTE,
  invalidateKeys: INVALIDATE_KEYS,
  invalidateName: INVALIDATE_NAME,
  list: LIST,
  count: COUNT,
  pause: PAUSE,
  leave: LEAVE,
}

export type ScriptName = keyof typeof SOURCES

export type Scripts = Record<ScriptName, Script>

/** The library's name tells its content, so that versions of deferq live side by side. */
export function compile(rewrite: (source: string) => string = (source) => source): Scripts {
  const read = (source: string): string => numbered(rewrite(source))
  const parts = PRELUDE.map(read)
  const own = Object.entries(SOURCES).map(([verb, source]) => [verb, read(source)] as const)
  const name = `deferq_${sha1([parts, own].flat(3).join('\n')).slice(0, 12)}`
  const library = libraryOf(name, parts, Object.fromEntries(own), FLAGS)
  const scripts = own.map(([verb, text]): [string, Script] => {
    const source = [...parts, verb === 'admit' ? '' : ALLOWED_WHEN_FULL, text].join('\n')
    return [verb, { source, sha: sha1(source), function: { name: `${name}_${verb}`, library } }]
  })
  return Object.fromEntries(scripts) as Scripts
}

// A full store can be drained, so all but `admit` run there. A script that begins with a write that is allowed then, is allowed as
// a whole; a function says so.
const ALLOWED_WHEN_FULL = "call('DEL', T .. 'none')"
const FLAGS = Object.fromEntries(
  Object.keys(SOURCES).map((name) => [name, name === 'admit' ? '' : "'allow-oom'"]),
)

const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex')

export const SCRIPTS = compile()
