// The default logger: warnings and errors as one line each on standard error, nothing else.
import { inspect } from 'node:util'
import type { Logger } from './task.ts'

export const QUIET_LOGGER: Logger = {
  debug() {},
  info() {},
  warn: (details, message) => write('warn', details, message),
  error: (details, message) => write('error', details, message),
}

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
