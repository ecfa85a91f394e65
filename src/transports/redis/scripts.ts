// The scripts of the Redis transport: each verb for a whole batch in one atomic step, by the server's clock.
import { createHash } from 'node:crypto'
import type { Script } from '../../drivers/redis-connection.ts'
import { SOURCES } from './lua/generated.ts'

const FILES = {
  publish: 'publish.lua',
  reserve: 'reserve.lua',
  ack: 'ack.lua',
  release: 'release.lua',
  extend: 'extend.lua',
  depth: 'depth.lua',
  peek: 'peek.lua',
  leave: 'leave.lua',
} as const satisfies Record<string, keyof typeof SOURCES>

export type ScriptName = keyof typeof FILES

export const SCRIPTS = Object.fromEntries(
  Object.entries(FILES).map(([name, file]): [string, Script] => {
    const source = SOURCES[file]
    return [name, { source, sha: createHash('sha1').update(source).digest('hex') }]
  }),
) as Record<ScriptName, Script>
