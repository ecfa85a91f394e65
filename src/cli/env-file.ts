// Sets one variable in an environment file: every other byte stays as it is, and the file is whole at every moment.

import type { Stats } from 'node:fs'
import { open, readFile, realpath, rename, stat, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { environment } from '../base/environment.ts'

/** Where a value stands in a text; the quotes around it are not part of it. */
interface Span {
  start: number
  end: number
}

const BOM = '\u00ef\u00bb\u00bf'

export class EnvFile {
  /** Where it really is: a link is left as a link. */
  readonly path: string
  readonly #stat: Stats
  /** One character a byte, so that what is no UTF-8 survives as well. */
  readonly #text: string

  private constructor(path: string, stat: Stats, text: string) {
    this.path = path
    this.#stat = stat
    this.#text = text
  }

  static async read(path: string): Promise<EnvFile> {
    const real = await realpath(path)
    const found = await stat(real)
    // A pipe, say, would be read for ever, and be no pipe afterwards.
    if (!found.isFile()) throw new Error('it is no regular file')
    return new EnvFile(real, found, await readFile(real, 'latin1'))
  }

  /** Whether it is set to anything. */
  has(name: string): boolean {
    return spansOf(this.#text, name).some(({ start, end }) => end > start)
  }

  /** Written beside the file and put in its place. The value must be such that it needs no quotes. */
  async set(name: string, value: string): Promise<void> {
    const text = withValue(this.#text, name, value)
    const temporary = `${this.path}.${environment.randomBytes(6).toString('hex')}.tmp`
    const file = await open(temporary, 'wx', 0o600)
    try {
      try {
        await file.writeFile(text, 'latin1')
        await file.chmod(this.#stat.mode & 0o7777)
        await file.sync()
      } finally {
        await file.close()
      }
      if ((await readFile(this.path, 'latin1')) !== this.#text)
        throw new Error('somebody else has changed it in the meantime')
      await rename(temporary, this.path)
    } catch (error) {
      await unlink(temporary)
      throw error
    }
    await syncFolder(dirname(this.path))
  }
}

/** Each assignment of the name gets the value, because programs differ in which one counts; without any, one is added. */
export function withValue(text: string, name: string, value: string): string {
  const spans = spansOf(text, name)
  if (spans.length === 0) return added(text, `${name}=${value}`)
  let result = ''
  let at = 0
  for (const { start, end } of spans) {
    result += text.slice(at, start) + value
    at = end
  }
  return result + text.slice(at)
}

/** Ends as the file did: with a line break, or without. */
function added(text: string, line: string): string {
  const lineBreak = /\r?\n/.exec(text)?.[0] ?? '\n'
  if (text === '' || text === BOM) return `${text}${line}${lineBreak}`
  return text.endsWith('\n') ? `${text}${line}${lineBreak}` : `${text}${lineBreak}${line}`
}

/** Values in quotes may go over several lines, in which an assignment is none. */
function spansOf(text: string, name: string): Span[] {
  const spans: Span[] = []
  const assignment = /[ \t]*(?:export[ \t]+)?([\w.-]+)[ \t]*=[ \t]*/y
  for (let at = text.startsWith(BOM) ? BOM.length : 0; at < text.length; ) {
    assignment.lastIndex = at
    const found = assignment.exec(text)
    if (found !== null) {
      const span = valueAt(text, assignment.lastIndex)
      if (found[1] === name) spans.push(span)
      at = span.end
    }
    const next = text.indexOf('\n', at)
    at = next < 0 ? text.length : next + 1
  }
  return spans
}

function valueAt(text: string, start: number): Span {
  const quote = text[start] as string
  if (quote === '"' || quote === "'" || quote === '`') {
    const end = closing(text, start + 1, quote)
    if (end !== undefined) return { start: start + 1, end }
  }
  const line = /[^\r\n]*/y
  line.lastIndex = start
  const [whole] = line.exec(text) as RegExpExecArray
  const bare = whole.replace(/(^|[ \t]+)#.*$/, '').trimEnd()
  if (bare !== '') return { start, end: start + bare.length }
  // Right behind the equals sign, so that there is room before a comment.
  const begin = text.slice(0, start).trimEnd().length
  return { start: begin, end: begin }
}

function closing(text: string, from: number, quote: string): number | undefined {
  for (let at = from; at < text.length; at++) {
    if (text[at] === '\\' && quote === '"') at++
    else if (text[at] === quote) return at
  }
  return undefined
}

/** So that the new name survives a crash as well; Windows has no such call for folders. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
