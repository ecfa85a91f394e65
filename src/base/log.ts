// The default logger: warnings and errors as one line each on standard error, or wherever a program sends them.
import { inspect } from 'node:util'

/** A logger shaped like pino's. */
export interface Logger {
  debug(details: object, message: string): void
  info(details: object, message: string): void
  warn(details: object, message: string): void
  error(details: object, message: string): void
}

// Not a variable of this module: a bootstrap file may bring a copy of the package of its own.
const SINK = Symbol.for('deferq.logger')
const sinks = globalThis as { [SINK]?: Logger }

export const DEFAULT_LOGGER: Logger = {
  debug: (details, message) => sinks[SINK]?.debug(details, message),
  info: (details, message) => sinks[SINK]?.info(details, message),
  warn: (details, message) => (sinks[SINK]?.warn ?? warn)(details, message),
  error: (details, message) => (sinks[SINK]?.error ?? error)(details, message),
}

/** For programs that are deferq's own: whoever was given no logger logs to this one. */
export function logByDefaultTo(logger: Logger): void {
  sinks[SINK] = logger
}

const warn = (details: object, message: string): void => write('warn', details, message)
const error = (details: object, message: string): void => write('error', details, message)

function write(level: string, details: object, message: string): void {
  const { error, ...rest } = details as { error?: unknown }
  const why =
    error === undefined ? '' : ` ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
  const fields = Object.keys(rest).length === 0 ? '' : ` ${textOf(rest)}`
  process.stderr.write(`deferq ${level}: ${message}${fields}${why}\n`)
}

function textOf(fields: object): string {
  try {
    return JSON.stringify(fields)
  } catch {
    // A BigInt, or a cycle.
    return inspect(fields, { breakLength: Infinity })
  }
}

/** For deferq's own lines: a logger that throws is no reason to lose a task. */
export function unfailing(logger: Logger): Logger {
  const safe =
    (level: keyof Logger) =>
    (details: object, message: string): void => {
      try {
        logger[level](details, message)
      } catch {
        // There is nowhere left to say so.
      }
    }
  return { debug: safe('debug'), info: safe('info'), warn: safe('warn'), error: safe('error') }
}
