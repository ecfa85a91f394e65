// Writes the help texts from the tables of flags and commands, so that none is ever left out.
import type { Flag, Flags } from './flags.ts'
import { variableOf } from './flags.ts'

/** One line per flag. */
export function flagLines(flags: Flags): string {
  const rows = Object.entries(flags).map(([name, flag]) => [head(name, flag), tail(name, flag)] as const)
  return twoColumns(rows)
}

export function twoColumns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`.trimEnd()).join('\n')
}

function head(name: string, { kind, value, short, choices }: Flag): string {
  const word = value ?? (choices === undefined ? kind : choices.join('|'))
  const shape = kind === 'switch' ? '' : kind === 'wait' ? `[=${word}]` : `=${word}`
  return `${short === undefined ? '' : `-${short}, `}--${name}${shape}`
}

function tail(name: string, { about, environment }: Flag): string {
  return environment === undefined ? about : `${about} [${variableOf(name)}]`
}
