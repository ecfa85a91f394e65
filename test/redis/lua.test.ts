// The Lua files: each is Lua by itself, and their constants are those of TypeScript.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { MAX_ERRORS, REFRESH_PRIORITY } from '../../src/contract/engine.ts'
import { abandonedError, supersededError } from '../../src/contract/store-errors.ts'
import { INLINE, PLACE } from '../../src/engines/redis/layout.ts'
import { sharedUrl } from '../servers/shared.ts'
import { commands } from './commands.ts'

const FOLDER = fileURLToPath(new URL('../../src/engines/redis/lua/', import.meta.url))
const files = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.lua'),
)
const textOf = (name: string): string => readFileSync(FOLDER + name, 'utf8')

test('each file parses as it stands', async () => {
  const client = await commands(sharedUrl('redis'))
  expect(files.length).toBeGreaterThan(20)
  for (const name of files) {
    await expect(client.call('SCRIPT', 'LOAD', textOf(name)), name).resolves.toMatch(/^[0-9a-f]{40}$/)
  }
  await expect(client.call('SCRIPT', 'LOAD', 'local function (')).rejects.toThrow('Error compiling script')
  client.disconnect()
})

test('a verb has 120 lines at most', () => {
  const long = files.filter((name) => !name.startsWith('shared/') && textOf(name).split('\n').length > 121)
  expect(long).toEqual([])
})

test('places, bounds and errors are the same in Lua and in TypeScript', async () => {
  const client = await commands(sharedUrl('redis'))
  const names = ['RUN_AT', 'CREATED_AT', 'LENGTH_AT', 'HEAD_AT', 'FINISHED_AT', 'FRESH_AT', 'TOKEN_AT']
  const told = (await client.call(
    'EVAL',
    `${textOf('shared/layout.lua')}\nreturn { ${names.join(', ')}, INLINE, MAX_ERRORS, REFRESH_PRIORITY, SUPERSEDED, ABANDONED }`,
    '0',
  )) as unknown[]
  const { run, created, length, head, finished, fresh, token } = PLACE
  // Numbers that stand for themselves mark where the scripts fill in theirs.
  const template = (error: string): string => error.replaceAll('-111111', '@A').replaceAll('-222222', '@T')
  expect(told).toEqual([
    ...[run, created, length, head, finished, fresh, token],
    ...[INLINE, MAX_ERRORS, REFRESH_PRIORITY],
    template(supersededError(-111_111, -222_222, '@B')),
    template(abandonedError(-111_111, -222_222)),
  ])
  client.disconnect()
})
