// Parses a pattern into a tree of single characters, sequences, choices and repetitions.
import type { Test } from './runaway.ts'

export type Node =
  | { kind: 'one'; test: Test }
  | { kind: 'all'; of: Node[] }
  | { kind: 'any'; of: Node[] }
  | { kind: 'repeat'; node: Node; least: number; most: number; at: number }

export const DIGIT: Test = (c) => c >= '0' && c <= '9'

export const WORD: Test = (c) => DIGIT(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c === '_'

export const SPACE: Test = (c) => /^\s$/.test(c)

export const not =
  (test: Test): Test =>
  (c) =>
    !test(c)

export const CLASSES: Record<string, Test> = {
  d: DIGIT,
  w: WORD,
  s: SPACE,
  D: not(DIGIT),
  W: not(WORD),
  S: not(SPACE),
}

/** Of the classes above, and of `.`. */
export const EDGES = [
  0, 0x09, 0x0a, 0x0b, 0x0e, 0x20, 0x21, 0x30, 0x3a, 0x41, 0x5b, 0x5f, 0x60, 0x61, 0x7b, 0xa0, 0xa1, 0x1680,
  0x1681, 0x2000, 0x200b, 0x2028, 0x202a, 0x202f, 0x2030, 0x205f, 0x2060, 0x3000, 0x3001, 0xfeff, 0xff00,
]

export const ESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t' }

export const pointOf = (c: string): number => c.codePointAt(0) as number

export const MAX_DEPTH = 20

export class Reader {
  /** Where what its tests answer may change, as code points: where a literal, a class or a range begins, or has just ended. */
  readonly edges = new Set(EDGES)
  readonly #characters: string[]
  #at: number
  #depth = 0

  constructor(source: string, from: number, less: number) {
    this.#characters = [...source]
    this.#characters.length -= less
    this.#at = from
  }

  read(): Node {
    const node = this.#choice()
    if (this.#peek() !== undefined) throw new Error(`')' at ${this.#at + 1} closes nothing`)
    return node
  }

  #choice(): Node {
    if (++this.#depth > MAX_DEPTH) throw new Error(`its groups nest deeper than ${MAX_DEPTH}`)
    const of = [this.#sequence()]
    while (this.#take('|')) of.push(this.#sequence())
    this.#depth--
    return of.length === 1 ? (of[0] as Node) : { kind: 'any', of }
  }

  #sequence(): Node {
    const of: Node[] = []
    for (let next = this.#peek(); next !== undefined && next !== '|' && next !== ')'; next = this.#peek()) {
      const at = this.#at + 1
      of.push(this.#repeated(this.#item(), at))
    }
    return { kind: 'all', of }
  }

  #item(): Node {
    const character = this.#characters[this.#at++] as string
    if (character === '(') {
      if (this.#take('?') && !this.#take(':'))
        throw new Error(
          'of the groups that begin with (? there is only (?:…): it can neither look around nor name anything',
        )
      const node = this.#choice()
      if (!this.#take(')')) throw new Error("a '(' is not closed")
      return node
    }
    if (character === '[') return { kind: 'one', test: this.#class() }
    if (character === '.') return { kind: 'one', test: (c) => c !== '\n' }
    if (character === '\\') return { kind: 'one', test: this.#escaped() }
    if ('*+?{'.includes(character)) throw new Error(`'${character}' at ${this.#at} repeats nothing`)
    if (character === '^' || character === '$')
      throw new Error(
        `'${character}' is an anchor, and stands only at the beginning or the end; write \\${character} for the character`,
      )
    return { kind: 'one', test: this.#literal(character) }
  }

  #repeated(node: Node, at: number): Node {
    const bounds = this.#bounds()
    if (bounds === undefined) return node
    // Greedy or lazy makes no difference to whether it matches.
    this.#take('?')
    if (this.#bounds() !== undefined)
      throw new Error(`at ${this.#at} a repetition is repeated; put it in a group`)
    return { kind: 'repeat', node, at, ...bounds }
  }

  #bounds(): { least: number; most: number } | undefined {
    if (this.#take('*')) return { least: 0, most: Number.POSITIVE_INFINITY }
    if (this.#take('+')) return { least: 1, most: Number.POSITIVE_INFINITY }
    if (this.#take('?')) return { least: 0, most: 1 }
    if (!this.#take('{')) return undefined
    const end = this.#characters.indexOf('}', this.#at)
    const inner = this.#characters.slice(this.#at, end === -1 ? undefined : end).join('')
    const match = /^(\d{1,3})(,(\d{1,3})?)?$/.exec(inner)
    if (end === -1 || match === null)
      throw new Error(`{${inner} is no number of repetitions: write {3}, {3,} or {3,5}, or \\{`)
    this.#at = end + 1
    const least = Number(match[1])
    const most =
      match[2] === undefined ? least : match[3] === undefined ? Number.POSITIVE_INFINITY : Number(match[3])
    if (most < least) throw new Error(`{${inner}} ends before it begins`)
    return { least, most }
  }

  #class(): Test {
    const negated = this.#take('^')
    const tests: Test[] = []
    for (let first = true; first || this.#peek() !== ']'; first = false) {
      const from = this.#member()
      if (typeof from === 'function') {
        tests.push(from)
      } else if (this.#peek() === '-' && this.#characters[this.#at + 1] !== ']') {
        this.#at++
        const to = this.#member()
        if (typeof to === 'function' || pointOf(to) < pointOf(from))
          throw new Error(`in a class, '${from}-' leads to nothing that comes after it`)
        const [least, most] = [pointOf(from), pointOf(to)]
        this.edges.add(least).add(most + 1)
        tests.push((c) => pointOf(c) >= least && pointOf(c) <= most)
      } else {
        tests.push(this.#literal(from))
      }
    }
    this.#at++
    // Asked by each step that a repetition is written out to, for the same character.
    let last: string | undefined
    let answer = false
    return (c) => {
      if (c !== last) answer = tests.some((each) => each(c)) !== negated
      last = c
      return answer
    }
  }

  #member(): Test | string {
    const character = this.#characters[this.#at++]
    if (character === undefined) throw new Error("a '[' is not closed")
    if (character !== '\\') return character
    const escaped = this.#characters[this.#at++]
    if (escaped === undefined) throw new Error('it ends with a \\')
    return CLASSES[escaped] ?? literal(escaped)
  }

  #escaped(): Test {
    const escaped = this.#characters[this.#at++]
    if (escaped === undefined) throw new Error('it ends with a \\')
    const wanted = CLASSES[escaped] ?? literal(escaped)
    return typeof wanted === 'string' ? this.#literal(wanted) : wanted
  }

  #literal(character: string): Test {
    const point = pointOf(character)
    this.edges.add(point).add(point + 1)
    return (c) => c === character
  }

  #peek(): string | undefined {
    return this.#characters[this.#at]
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false
    this.#at++
    return true
  }
}

/** A letter or digit with a meaning that is not part of this (\\b, \\1, \\u…) would silently be something else. */
export function literal(escaped: string): string {
  const known = ESCAPES[escaped]
  if (known !== undefined) return known
  if (/^[A-Za-z0-9]$/.test(escaped)) throw new Error(`\\${escaped} is not part of it`)
  return escaped
}
