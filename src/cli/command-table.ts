// The table of commands: what the help lists, and what a command line can begin with.
import type { Command } from './command.ts'
import { arity } from './command.ts'
import { ENDING } from './commands/cancel.ts'
import { DEMO } from './commands/demo.ts'
import { DISPATCHING } from './commands/dispatch.ts'
import { SECRET } from './commands/generate-secret.ts'
import { PAUSING } from './commands/pause.ts'
import { QUEUE } from './commands/queue.ts'
import { REQUESTING } from './commands/request.ts'
import { SCHEDULE } from './commands/schedule.ts'
import { SERVING } from './commands/serve.ts'
import { LOOKING } from './commands/status.ts'
import { STORE } from './commands/store.ts'
import type { Flags } from './flags.ts'
import { HELP_FLAGS } from './flags.ts'
import { flagLines, twoColumns } from './help.ts'
import { DEFAULT_URL } from './url.ts'

const all = [
  ...DISPATCHING,
  ...LOOKING,
  ...ENDING,
  ...PAUSING,
  ...SCHEDULE,
  ...REQUESTING,
  ...QUEUE,
  ...STORE,
  ...SERVING,
  ...SECRET,
  ...DEMO,
]
const ORDER = [
  'dispatch',
  'status',
  'result',
  'list',
  'stats',
  'cancel',
  'invalidate',
  'retry',
  'hasten',
  'request',
  'pause',
  'resume',
  'drain',
  'schedule',
  'queue',
  'store',
  'serve',
  'generate-secret',
  'demo',
]

export const COMMANDS: ReadonlyMap<string, Command> = new Map(
  ORDER.flatMap((name) => all.filter((each) => each.name === name)).map((each) => [each.name, each]),
)

export const GLOBAL_FLAGS = {
  url: {
    kind: 'text',
    value: 'url',
    environment: true,
    about: `where the store is (${DEFAULT_URL})`,
  },
  bootstrap: {
    kind: 'text',
    value: 'file',
    environment: true,
    about: 'use the DeferQ of this file, with its store and its tasks',
  },
  json: { kind: 'switch', environment: true, about: 'answer with one JSON document, errors too' },
  verbose: { kind: 'switch', about: 'stacks with errors (as DEBUG=deferq does)' },
  ...HELP_FLAGS,
} as const satisfies Flags

/** All flags there are, so that a command line can be split before its command is known. */
export const EVERY_FLAG: Flags = Object.assign({}, ...all.map(({ flags }) => flags), GLOBAL_FLAGS)

export function generalHelp(): string {
  const rows = [...COMMANDS.values()].map(({ name, takes, about }) => [`${name} ${takes}`, about] as const)
  return `deferq asks for work, and looks at it.

Usage: deferq <command> [arguments] [flags]

Commands (deferq <command> --help says more):
${twoColumns(rows)}

Flags of every command, some with the environment variable that stands in for them:
${flagLines(GLOBAL_FLAGS)}

Ids are given whole. Times are milliseconds (1500) or have a unit (250ms, 90s, 5m, 1h). Without a url or a bootstrap
file the store is ${DEFAULT_URL}: a worker whose bootstrap opens the same URL runs what is dispatched here.
Exit codes: 0 done, 1 failed (an unknown id, a task that failed or has not finished), 2 wrong usage.
`
}

export function commandHelp(command: Command): string {
  const { name, takes, about, more, flags } = command
  const own = Object.keys(flags).length === 0 ? '' : `\nFlags:\n${flagLines(flags)}\n`
  return `deferq ${name}: ${about}.

Usage: deferq ${name}${takes === '' ? '' : ` ${takes}`}${own === '' ? '' : ' [flags]'}
${more === undefined ? '' : `\n${more}\n`}${own}
Flags of every command:
${flagLines(GLOBAL_FLAGS)}
`
}

/** What is wrong with the number of arguments, if anything is. */
export function misfit(command: Command, positionals: readonly string[]): string | undefined {
  const { least, most } = arity(command)
  const usage = `Usage: deferq ${command.name} ${command.takes}`.trimEnd()
  if (positionals.length < least) {
    const missing = command.takes.split(' ')[positionals.length]
    return `${command.name} needs ${missing}. ${usage}`
  }
  if (positionals.length <= most) return undefined
  const extra = positionals[most] as string
  if ('wait' in command.flags && /^\d+(ms|s|m|h|d|w)?$/.test(extra))
    return `The time to wait is written with an equals sign: --wait=${extra}.`
  const json =
    command.takes.includes('params') && (most === 2 || positionals.some((each) => /^[{[]/.test(each)))
  return (
    `${command.name} does not know what to do with '${extra}'. ${usage}` +
    (json ? `, the params as one argument in single quotes: '{"year":2024}'` : '')
  )
}
