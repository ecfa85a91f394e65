// Turns values into what people and programs read: durations, tables, plain JSON, text without secrets or control characters.
import { stripVTControlCharacters } from 'node:util'
import { errorToJson, maskUrl } from '../base/errors.ts'

// Written by hand: util.styleText looks at stdout, whichever stream the text is for.
const STYLES = {
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
  dim: [2, 22],
  bold: [1, 22],
} as const

export type Paint = (style: keyof typeof STYLES, text: string) => string

/** Colours on a terminal only, and not where NO_COLOR (https://no-color.org) or a dumb terminal forbids them. */
export function paintFor(stream: { isTTY?: boolean }, environment: NodeJS.ProcessEnv): Paint {
  if (stream.isTTY !== true || environment.NO_COLOR || environment.TERM === 'dumb')
    return (_style, text) => text
  return (style, text) => `\u001b[${STYLES[style][0]}m${text}\u001b[${STYLES[style][1]}m`
}

const UNITS: [suffix: string, ms: number][] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
]

/** '340ms', '2.5s', '3m 20s', '2d 4h': the two largest units. */
export function readable(ms: number): string {
  if (ms < 0) return `-${readable(-ms)}`
  if (ms < 999.5) return `${Math.round(ms)}ms`
  if (ms < 59_500) return `${Number((ms / 1_000).toFixed(ms < 10_000 ? 1 : 0))}s`
  let rest = Math.round(ms / 1_000) * 1_000
  const parts: string[] = []
  for (const [suffix, unit] of UNITS) {
    const count = Math.floor(rest / unit)
    rest -= count * unit
    if (count > 0 || parts.length > 0) parts.push(count > 0 ? `${count}${suffix}` : '')
    if (parts.length === 2) break
  }
  return parts.filter(Boolean).join(' ')
}

/** Columns under their headings; the last one may be as long as it likes. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[], paint: Paint): string {
  const widths = heads.map((head, at) => Math.max(head.length, ...rows.map((row) => widthOf(row[at] ?? ''))))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => cell + ' '.repeat(Math.max(0, (widths[at] as number) - widthOf(cell))))
      .join('  ')
      .trimEnd()
  return [paint('dim', line(heads)), ...rows.map(line)].join('\n')
}

/** A block of 'name  value' lines; what is undefined is left out. */
export function block(pairs: readonly (readonly [string, string | undefined])[], paint: Paint): string {
  const there = pairs.filter((pair): pair is [string, string] => pair[1] !== undefined)
  const width = Math.max(...there.map(([name]) => name.length))
  return there
    .map(
      ([name, value]) =>
        `${paint('dim', name.padEnd(width))}  ${value.replaceAll('\n', `\n${' '.repeat(width + 2)}`)}`,
    )
    .join('\n')
}

const widthOf = (text: string): number => stripVTControlCharacters(text).length

/** What a task stored is shown on somebody's terminal: no control character of it may get there, save line feeds. */
export function clean(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '�')
    .replaceAll('\t', '  ')
}

/** Values that JSON has no word for, in a readable form: nothing here throws, and nothing is lost in silence. */
export function plain(value: unknown, stacks = false): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'undefined') return null
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (value instanceof Error) return plain(errorPlain(value, stacks), stacks)
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (value instanceof Set) return [...value].map((each) => plain(each, stacks))
  if (value instanceof Map) return [...value].map((entry) => entry.map((each) => plain(each, stacks)))
  if (Array.isArray(value)) return value.map((each) => plain(each, stacks))
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, each]) =>
      each === undefined ? [] : [[name, plain(each, stacks)]],
    ),
  )
}

function errorPlain(error: Error, stacks: boolean): object {
  const trim = ({ stack, cause, ...json }: ReturnType<typeof errorToJson>): object => ({
    ...json,
    message: maskUrl(json.message),
    ...(stacks && stack !== undefined ? { stack: maskUrl(stack) } : {}),
    ...(cause === undefined ? {} : { cause: trim(cause) }),
  })
  return trim(errorToJson(error))
}
