// deferq: from a command line to the command it names, its answer or its failure, and the exit code.

import { packageVersion } from '../base/version.ts'
import { DeferQ } from '../deferq.ts'
import { isInterface } from '../engines/open.ts'
import type { AnyDeferQ } from './bootstrap.ts'
import { loadBootstrap } from './bootstrap.ts'
import type { Answer, Command } from './command.ts'
import { COMMANDS, commandHelp, EVERY_FLAG, GLOBAL_FLAGS, generalHelp, misfit } from './command-table.ts'
import { codeOf, failureDocument, failureText, wantsStacks } from './failure.ts'
import type { Arguments, Reading } from './flags.ts'
import { readFlags, split, usage } from './flags.ts'
import { paintFor } from './format.ts'
import { cliLogger } from './logger.ts'
import { nearest } from './nearest.ts'
import { endProcess, endWithReader, writeTo } from './process.ts'
import { StatusLine } from './status-line.ts'
import { DEFAULT_URL } from './url.ts'

type Globals = Reading<typeof GLOBAL_FLAGS>

export async function main(
  argv: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  endWithReader(process.stdout)
  const parts = split(argv, EVERY_FLAG)
  const has = (flag: string): boolean => parts.options.some(({ name }) => name === flag)
  const stacks = has('verbose') || wantsStacks(environment)
  // Known before anything else is, because a usage error is answered in the wanted form too.
  let json = has('json') || /^(1|true|yes|on)$/i.test(environment.DEFERQ_JSON ?? '')
  let command: Command | undefined
  try {
    const help = has('help') || parts.positionals[0] === 'help'
    const [first, ...rest] = parts.positionals[0] === 'help' ? parts.positionals.slice(1) : parts.positionals
    if (has('version') && first === undefined) return endProcess(0, `${packageVersion()}\n`)
    if (first !== undefined) command = commandNamed(first)
    if (help) return endProcess(0, command === undefined ? generalHelp() : commandHelp(command))
    if (command === undefined) {
      process.stderr.write(generalHelp())
      return endProcess(2)
    }
    const reading = readCommand(command, parts, rest, environment)
    json = reading.values.json ?? false
    endProcess(await run(command, rest, reading, environment, stacks))
  } catch (error) {
    const help = command === undefined ? 'deferq --help' : `deferq ${command.name} --help`
    if (json) print(failureDocument(error, { stacks, help }))
    else {
      const paint = paintFor(process.stderr, environment)
      writeTo(process.stderr)(`${failureText(error, paint, { stacks, help })}\n`)
    }
    endProcess(codeOf(error) === 'USAGE' ? 2 : 1)
  }
}

/** The flags of a command line, once it is sure that it makes sense for this command. */
export function readCommand(
  command: Command,
  parts: Arguments,
  positionals: readonly string[],
  environment: NodeJS.ProcessEnv,
): Globals {
  const flags = { ...GLOBAL_FLAGS, ...command.flags }
  const reading = readFlags(parts, flags, environment, `deferq ${command.name}`, elsewhere)
  const wrong = misfit(command, positionals)
  if (wrong !== undefined) throw usage(wrong)
  return reading as Globals
}

export function commandNamed(name: string): Command {
  const command = COMMANDS.get(name)
  if (command !== undefined) return command
  const meant = nearest(name, COMMANDS.keys())
  const known = [...COMMANDS.keys()].join(', ')
  throw usage(
    `There is no command '${name}'. ${meant === undefined ? `There are ${known}.` : `Did you mean ${meant}?`}`,
  )
}

/** A flag that another command has. */
function elsewhere(flag: string): string | undefined {
  const owners = [...COMMANDS.values()]
    .filter(({ flags }) => Object.hasOwn(flags, flag))
    .map(({ name }) => name)
  return owners.length === 0
    ? undefined
    : `This command has no flag --${flag}; deferq ${owners.join(' and ')} has it.`
}

async function run(
  command: Command,
  positionals: string[],
  globals: Globals,
  environment: NodeJS.ProcessEnv,
  stacks: boolean,
): Promise<number> {
  const json = globals.values.json ?? false
  const paint = paintFor(process.stdout, environment)
  const paintRemark = paintFor(process.stderr, environment)
  const note = writeTo(process.stderr)
  const line = new StatusLine(process.stderr, environment)
  const remarks: string[] = []
  let opening: Promise<AnyDeferQ> | undefined
  const deferq = (): Promise<AnyDeferQ> => {
    opening ??= open(command, globals, environment, stacks, note)
    return opening
  }
  let answer: Answer | number
  try {
    answer = await command.run({
      positionals,
      values: globals.values as never,
      deferq,
      paint,
      status: line.shown && !json ? (text) => line.draw(text) : undefined,
      remark: (text) => remarks.push(text),
    })
  } finally {
    await opening?.then((opened) => opened.close()).catch(() => {})
  }
  if (typeof answer === 'number') return answer
  if (json) print(answer.document)
  else {
    process.stdout.write(`${answer.text}\n`)
    for (const remark of remarks) note(`${paintRemark('dim', 'hint:')} ${remark}\n`)
  }
  return answer.code ?? 0
}

async function open(
  { tasks }: Command,
  { values, sources }: Globals,
  environment: NodeJS.ProcessEnv,
  stacks: boolean,
  note: (text: string) => void,
): Promise<AnyDeferQ> {
  const { url = DEFAULT_URL, bootstrap } = values
  const logger = cliLogger({
    json: false,
    quiet: true,
    verbose: stacks,
    paint: paintFor(process.stderr, environment),
    write: note,
  })
  // What is on the command line is nearer than what is in the environment.
  const byUrl = sources.get('url') === '--url'
  if (byUrl && sources.get('bootstrap') === '--bootstrap')
    throw usage('--url and --bootstrap both say where the store is: give one of them.')
  const deferq =
    bootstrap === undefined || byUrl
      ? new DeferQ({
          url,
          logger,
          ...secretFor(url, environment),
          ...(tasks === undefined ? {} : { tasks: await tasks() }),
        })
      : (await loadBootstrap(bootstrap, { logger }, (message) => logger.warn({}, message))).deferq
  const { name } = await deferq.open()
  if (name === 'memory')
    logger.warn(
      {},
      'memory: lies in this process alone, and is gone when this command ends. Use sqlite: or redis:',
    )
  return deferq
}

/** What signs the requests where the url is that of an HTTP interface. */
function secretFor(url: string, { DEFERQ_SECRET }: NodeJS.ProcessEnv): { secret?: string } {
  return isInterface(url) && DEFERQ_SECRET ? { secret: DEFERQ_SECRET } : {}
}

function print(document: unknown): void {
  process.stdout.write(`${JSON.stringify(document, null, process.stdout.isTTY ? 2 : 0)}\n`)
}
