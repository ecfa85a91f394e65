// One line at the foot of a terminal that is drawn anew while something is waited for, and then gone.
import { stripVTControlCharacters } from 'node:util'

export class StatusLine {
  /** Only where somebody watches: a file or a pipe would keep every drawing. */
  readonly shown: boolean
  readonly #stream: NodeJS.WriteStream
  #last = ''

  constructor(stream: NodeJS.WriteStream, environment: NodeJS.ProcessEnv) {
    this.#stream = stream
    this.shown = stream.isTTY === true && environment.TERM !== 'dumb'
  }

  /** Empty text clears the line. */
  draw(text: string): void {
    if (!this.shown || text === this.#last) return
    this.#last = text
    const width = (this.#stream.columns || 80) - 1
    // A line that wrapped could not be cleared; one that is cut loses its colours too, which could be cut in half.
    const bare = stripVTControlCharacters(text)
    this.#stream.write(`\r\u001b[2K${bare.length > width ? `${bare.slice(0, width - 1)}…` : text}`)
  }
}
