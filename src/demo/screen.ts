// What the demo shows: one line that is redrawn on a terminal, plain lines elsewhere, and a table.

// [start, end] of each style.
const STYLES = { bold: [1, 22], dim: [2, 22], green: [32, 39], red: [31, 39], cyan: [36, 39] } as const
const BAR_CELLS = 24

export class Screen {
  readonly #out: NodeJS.WriteStream
  readonly #colors: boolean
  /** Whether a line can be redrawn. */
  readonly live: boolean
  #drawn = ''

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
    this.live = out.isTTY === true && process.env.TERM !== 'dumb'
    // hasColors() knows NO_COLOR, FORCE_COLOR and what TERM can do.
    this.#colors = this.live && out.hasColors()
  }

  say(text = ''): void {
    this.clear()
    this.#out.write(`${text}\n`)
  }

  /** On a terminal only; the next line, drawn or said, takes its place. */
  draw(text: string): void {
    if (!this.live || text === this.#drawn) return
    this.#out.write(`\r${text}\u001b[K`)
    this.#drawn = text
  }

  clear(): void {
    if (this.#drawn !== '') this.#out.write('\r\u001b[K')
    this.#drawn = ''
  }

  style(style: keyof typeof STYLES, text: string): string {
    const [start, end] = STYLES[style]
    return this.#colors ? `\u001b[${start}m${text}\u001b[${end}m` : text
  }

  /** Nothing where it would break the line. */
  bar(part: number): string {
    // 0: a terminal that doesn't know.
    if ((this.#out.columns || 80) < 72) return ''
    const full = Math.round(Math.min(1, Math.max(0, part)) * BAR_CELLS)
    return this.style('green', '█'.repeat(full)) + this.style('dim', '░'.repeat(BAR_CELLS - full))
  }

  /** The first row is the head; all columns but the first stand to the right. */
  table(rows: readonly (readonly string[])[]): void {
    const widths = (rows[0] ?? []).map((_, column) =>
      Math.max(...rows.map((row) => (row[column] ?? '').length)),
    )
    for (const [index, row] of rows.entries()) {
      const cells = row.map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      const line = `  ${cells.join('   ')}`
      this.say(index === 0 ? this.style('bold', line) : line)
    }
  }
}

/** '0.8 ms', '14 ms', '2.06 s'. */
export function durationText(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(2)} s`
}
