// The process around the command line: writing to streams that may be gone, and an end that really comes.
import { environment } from '../base/environment.ts'

/** How long what is still open (a user's own connections, say) may take to close by itself. */
const LINGER_MS = 1_000

/** Writes, and does not mind a reader that has gone away: a worker outlives its log. */
export function writeTo(stream: NodeJS.WriteStream): (text: string) => void {
  let gone = false
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    gone = true
  })
  return (text) => {
    if (!gone) stream.write(text)
  }
}

/** For `deferq list | head`: when nobody reads any more, the work is done. */
export function endWithReader(stream: NodeJS.WriteStream): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(process.exitCode ?? 0)
  })
}

/**
 * The exit code, and an end even if something keeps the loop alive: a handler that ignores its signal, a connection
 * that nobody closes. Without such a thing the process ends by itself, with all its output written.
 */
export function endProcess(code: number, text = ''): void {
  if (text !== '') {
    endWithReader(process.stdout)
    process.stdout.write(text)
  }
  process.exitCode = code
  environment.setTimeout(() => process.exit(), LINGER_MS).unref()
}
