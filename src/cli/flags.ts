// Reads a command line, and the environment beside it, by a table of flags: typed values, or a usage error that helps.
import { parseArgs } from 'node:util'
import { DeferqError } from '../base/errors.ts'
import { durationMs, momentMs } from '../base/time.ts'
import { nearest } from './nearest.ts'

/** What each kind of flag is read as. A `wait` may be given without a value. */
interface KindValues {
  text: string
  switch: boolean
  whole: number
  number: number
  duration: number
  wait: number | true
  moment: Date
  list: string[]
  /** Given once for each. */
  texts: string[]
}

export interface Flag {
  readonly kind: keyof KindValues
  readonly about: string
  /** How its value is called in the help. */
  readonly value?: string
  readonly short?: string
  /** Also read from DEFERQ_<NAME>. */
  readonly environment?: true
  readonly least?: number
  readonly most?: number
  readonly choices?: readonly string[]
}

export type Flags = Readonly<Record<string, Flag>>
export type Values<F extends Flags> = { [Name in keyof F]?: KindValues[F[Name]['kind']] }

/** A command line in its parts, before anybody knows which flags belong here. */
export interface Arguments {
  readonly options: readonly { name: string; written: string; value: string | undefined; inline: boolean }[]
  readonly positionals: readonly string[]
}

export interface Reading<F extends Flags> {
  readonly values: Values<F>
  /** Where each value comes from, as it is to be called: '--queues', or 'DEFERQ_QUEUES'. */
  readonly sources: ReadonlyMap<string, string>
}

export function usage(message: string, details?: Record<string, unknown>): DeferqError {
  return new DeferqError('USAGE', message, details === undefined ? {} : { details })
}

export const HELP_FLAGS = {
  help: { kind: 'switch', short: 'h', about: 'this text' },
  version: { kind: 'switch', short: 'v', about: 'the version' },
} as const satisfies Flags

export const variableOf = (name: string): string => `DEFERQ_${name.toUpperCase().replaceAll('-', '_')}`

/** parseArgs in its lenient mode, because its own errors name neither the nearest flag nor what to write. */
export function split(argv: readonly string[], flags: Flags): Arguments {
  const options: Record<string, { type: 'string' | 'boolean'; short?: string }> = {}
  for (const [name, { kind, short }] of Object.entries(flags)) {
    const type = kind === 'switch' || kind === 'wait' ? 'boolean' : 'string'
    options[name] = short === undefined ? { type } : { type, short }
  }
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const found: Arguments['options'][number][] = []
  const positionals: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value)
    if (token.kind !== 'option') continue
    const written = (argv[token.index] as string).split('=')[0] as string
    const { name, value, inlineValue } = token
    // -bootstrap=x is read as -b -o -o …, of which the first one says it all.
    if (written.startsWith('--') || written.length === 2 || !found.some((each) => each.written === written))
      found.push({ name, written, value, inline: inlineValue === true })
  }
  return { options: found, positionals }
}

/** The values of these flags; the command line wins over the environment. `program` is how the errors call it. */
export function readFlags<F extends Flags>(
  { options }: Arguments,
  flags: F,
  environment: NodeJS.ProcessEnv,
  program: string,
  elsewhere: (name: string) => string | undefined = () => undefined,
): Reading<F> {
  const values: Record<string, unknown> = {}
  const sources = new Map<string, string>()
  for (const { name, written, value, inline } of options) {
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined
    if (flag === undefined || isCluster(written)) throw unknown(name, written, flags, program, elsewhere)
    const read = typed(flag, given(flag, value, inline, written), written)
    // A list may be given in parts, and texts one by one; of anything else the last one counts.
    const before = sources.has(name) ? values[name] : undefined
    values[name] = Array.isArray(read) && Array.isArray(before) ? [...before, ...(read as string[])] : read
    sources.set(name, `--${name}`)
  }
  for (const [name, flag] of Object.entries(flags)) {
    if (flag.environment === undefined || sources.has(name)) continue
    const variable = variableOf(name)
    const text = environment[variable]
    if (text === undefined) continue
    if (text.trim() === '') {
      throw usage(
        `The environment variable ${variable} is empty. Give it a value, or remove it (unset ${variable}).`,
        { variable },
      )
    }
    values[name] = typed(flag, text, variable)
    sources.set(name, variable)
  }
  return { values: values as Values<F>, sources }
}

/** Variables that nearly are one of ours: a misspelt one would be passed over in silence. */
export function misspeltVariables(flags: Flags, environment: NodeJS.ProcessEnv): string[] {
  const known = Object.keys(flags).filter((name) => flags[name]?.environment)
  return Object.keys(environment).flatMap((variable) => {
    const name = /^DEFERQ_([A-Z_]+)$/.exec(variable)?.[1]?.toLowerCase().replaceAll('_', '-')
    if (name === undefined || known.includes(name)) return []
    const meant = nearest(name, known)
    return meant === undefined ? [] : [`${variable} means nothing: did you mean ${variableOf(meant)}?`]
  })
}

const isCluster = (written: string): boolean => !written.startsWith('--') && written.length > 2

function given(flag: Flag, value: string | undefined, inline: boolean, written: string): string | undefined {
  if (flag.kind === 'switch' || flag.kind === 'wait') {
    if (!inline) return undefined
  } else if (value === undefined || (!inline && /^-(?!\d|$)/.test(value))) {
    const what = flag.value ?? 'value'
    throw usage(`${written} needs a value: write ${written}=<${what}>.`, { flag: written })
  }
  if (value?.trim() === '')
    throw usage(`${written}= is empty: give it a value, or leave it out.`, { flag: written })
  return value
}

function typed(flag: Flag, text: string | undefined, where: string): unknown {
  switch (flag.kind) {
    case 'switch':
      return text === undefined ? true : truth(text, where)
    case 'wait':
      return text === undefined ? true : duration(text, where)
    case 'duration':
      return duration(text as string, where)
    case 'whole':
    case 'number':
      return numberOf(flag, text as string, where)
    case 'moment':
      return moment(text as string, where)
    case 'list':
      return listOf(text as string, where)
    case 'texts':
      return [text]
    case 'text':
      return chosen(flag, text as string, where)
  }
}

function truth(text: string, where: string): boolean {
  if (/^(1|true|yes|on)$/i.test(text)) return true
  if (/^(0|false|no|off)$/i.test(text)) return false
  throw usage(`${where} is '${text}': use true or false.`, { flag: where })
}

function duration(text: string, where: string): number {
  const plain = /^\s*\d+(\.\d+)?\s*$/.test(text)
  try {
    return durationMs(plain ? Number(text) : text, where)
  } catch {
    throw usage(
      `${where} is '${text}', which is no duration. Use milliseconds (1500) or a unit (250ms, 90s, 5m, 1h, 7d).`,
      { flag: where },
    )
  }
}

function numberOf({ kind, least = 0, most }: Flag, text: string, where: string): number {
  const value = /^[+-]?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : Number.NaN
  const fits = value >= least && value <= (most ?? Number.MAX_SAFE_INTEGER)
  if (fits && (kind === 'number' || Number.isInteger(value))) return value
  const what = kind === 'whole' ? 'a whole number' : 'a number'
  const range = most === undefined ? `, ${least} or more` : ` from ${least} to ${most}`
  throw usage(`${where} is '${text}': use ${what}${range}.`, { flag: where })
}

function moment(text: string, where: string): Date {
  try {
    return new Date(momentMs(/^\d+$/.test(text) ? Number(text) : text, where))
  } catch {
    throw usage(
      `${where} is '${text}', which is no moment. Use ISO-8601 with a zone (2026-01-31T08:00:00Z) or epoch milliseconds.`,
      { flag: where },
    )
  }
}

function listOf(text: string, where: string): string[] {
  const list = text.split(',').map((each) => each.trim())
  if (!list.includes('')) return list
  throw usage(`${where} is '${text}', with an empty entry: separate names with single commas (a,b).`, {
    flag: where,
  })
}

function chosen({ choices }: Flag, text: string, where: string): string {
  if (choices === undefined || choices.includes(text)) return text
  const meant = nearest(text, choices)
  throw usage(
    `${where} is '${text}': use ${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}.` +
      (meant === undefined ? '' : ` Did you mean ${meant}?`),
    { flag: where },
  )
}

function unknown(
  name: string,
  written: string,
  flags: Flags,
  program: string,
  elsewhere: (name: string) => string | undefined,
): DeferqError {
  const name_ = isCluster(written) ? written.slice(1) : name
  const other = elsewhere(name_)
  if (other !== undefined) return usage(other, { flag: written })
  const known = Object.hasOwn(flags, name_) ? name_ : nearest(name_, Object.keys(flags))
  const advice = known === undefined ? `See ${program} --help.` : `Did you mean --${known}?`
  return usage(`${program} has no flag ${written}. ${advice}`, { flag: written })
}
