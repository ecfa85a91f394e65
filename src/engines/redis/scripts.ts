// All scripts by name, as functions of one library and as texts for servers that know no functions.
import { createHash } from 'node:crypto'
import type { Script } from '../../drivers/redis-connection.ts'
import { SOURCES } from './lua/generated.ts'

const FILES = {
  admit: 'admit.lua',
  settle: 'settle.lua',
  extend: 'extend.lua',
  sweep: 'sweep.lua',
  read: 'read.lua',
  cancel: 'cancel.lua',
  promote: 'promote.lua',
  invalidateKeys: 'invalidate-keys.lua',
  invalidateName: 'invalidate-name.lua',
  list: 'list.lua',
  count: 'count.lua',
  pause: 'pause.lua',
  leave: 'leave.lua',
} as const satisfies Record<string, keyof typeof SOURCES>

export type ScriptName = keyof typeof FILES

export type Scripts = Record<ScriptName, Script>

/**
 * Each file of a verb defines the function `verb`; what they share stands before it. In the library the shared functions are
 * defined once, when it is loaded: to define them with each call took Redis a third of the time of an admit. The library's
 * name tells its content, so that versions of deferq live side by side.
 */
export function compile(rewrite: (source: string) => string = (source) => source): Scripts {
  const shared = rewrite(SOURCES['prelude.lua'])
  const verbs = Object.entries(FILES).map(([name, file]) => ({ name, text: rewrite(SOURCES[file]) }))
  const id = `deferq_${sha1([shared, ...verbs.map(({ text }) => text)].join('\n')).slice(0, 12)}`
  const library = [`#!lua name=${id}`, shared, ...verbs.map((verb) => registered(id, verb))].join('\n')
  const scripts = verbs.map(({ name, text }): [string, Script] => {
    const serve = runsWhenFull(name) ? 'serveWhenFull' : 'serve'
    const source = [shared, text, `return ${serve}(verb, KEYS, ARGV)`].join('\n')
    return [name, { source, sha: sha1(source), function: { name: `${id}_${name}`, library } }]
  })
  return Object.fromEntries(scripts) as Scripts
}

/** A full store can be drained, so all but `admit` run there. */
const runsWhenFull = (name: string): boolean => name !== 'admit'

/** In a block, so that each verb has the 200 local variables that Lua allows. */
function registered(id: string, { name, text }: { name: string; text: string }): string {
  const flags = runsWhenFull(name) ? "'allow-oom'" : ''
  const callback = 'function(keys, argv) return serve(verb, keys, argv) end'
  return [
    'do',
    text,
    `redis.register_function{function_name = '${id}_${name}', flags = {${flags}}, callback = ${callback}}`,
    'end',
  ].join('\n')
}

const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex')

export const SCRIPTS = compile()
