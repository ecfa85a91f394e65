// The default logger: warnings and errors as one line each on standard error, nothing else.
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
  const fields = Object.keys(rest).length === 0 ? '' : ` ${JSON.stringify(rest)}`
  process.stderr.write(`deferq ${level}: ${message}${fields}${why}\n`)
}
