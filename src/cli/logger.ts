// The worker's logger: one line per event on standard error, for people or as JSON.
import { environment } from '../base/environment.ts'
import { isDeferqError, maskUrl } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { stackOf } from './failure.ts'
import type { Paint } from './format.ts'
import { clean, plain } from './format.ts'

export interface LogOptions {
  json: boolean
  /** Warnings and errors alone. */
  quiet: boolean
  /** Debug lines, and stacks with every error. */
  verbose: boolean
  paint: Paint
  write(line: string): void
}

const COLOURS = { debug: 'dim', info: 'green', warn: 'yellow', error: 'red' } as const
type Level = keyof typeof COLOURS

export function cliLogger(options: LogOptions): Logger {
  const line = options.json ? jsonLine : humanLine
  const at =
    (level: Level) =>
    (details: object, message: string): void => {
      if (level === 'debug' && !options.verbose) return
      if (options.quiet && (level === 'debug' || level === 'info')) return
      options.write(`${line(level, details, message, options)}\n`)
    }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

function jsonLine(level: Level, details: object, message: string, { verbose }: LogOptions): string {
  const { error, ...fields } = details as { error?: unknown }
  const shown = typeof error === 'string' ? maskUrl(error) : plain(error, verbose || level === 'error')
  const head = { time: new Date(environment.now()).toISOString(), level, message: maskUrl(message) }
  // Ours once more at the end: a field can't pretend to be another time or level.
  return JSON.stringify(
    Object.assign({ ...head }, plain(fields), error === undefined ? {} : { error: shown }, head),
  )
}

function humanLine(level: Level, details: object, message: string, { paint, verbose }: LogOptions): string {
  const { error, ...fields } = details as { error?: unknown }
  const parts = [
    paint('dim', new Date(environment.now()).toISOString()),
    paint(COLOURS[level], level.padEnd(5)),
    oneLine(message),
  ]
  // Ids are long, and so stand last.
  const { taskId, ...rest } = fields as { taskId?: unknown }
  for (const [name, value] of Object.entries(taskId === undefined ? rest : { ...rest, taskId })) {
    if (value !== undefined) parts.push(`${paint('dim', `${name}=`)}${fieldText(value)}`)
  }
  if (error === undefined) return parts.join(' ')
  parts.push(parts.pop()?.replace(/\.$/, '') ?? '')
  if (!(error instanceof Error))
    return `${parts.join(' ')}: ${typeof error === 'string' ? oneLine(error) : fieldText(error)}`
  const said = isDeferqError(error) ? `${error.code}: ${error.message}` : `${error.name}: ${error.message}`
  if (level !== 'error' && !verbose) return `${parts.join(' ')}: ${oneLine(said)}`
  return `${parts.join(' ')}\n${stackOf(error).replace(/^/gm, '    ')}`
}

function fieldText(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(plain(value)) ?? String(value))
  return oneLine(typeof value === 'string' && /[\s"=]/.test(text) ? JSON.stringify(text) : text)
}

/** One event is one line, whatever a message holds. */
const oneLine = (text: string): string => clean(maskUrl(text)).replaceAll('\n', ' ⏎ ')
