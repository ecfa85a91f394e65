// Patterns that can't run away: a small regular language, matched in one pass over the text, all possibilities side by side. One that
// would run away elsewhere is refused (see runaway.ts): rules travel, and may be read by what matches in another way.
//
// Literals, `.` (any character), classes ([a-z0-9_], [^…]), \d \w \s and their opposites, escapes, groups, `|`, `* + ?`, {n}, {n,},
// {n,m}, and the anchors ^ and $ at the beginning and the end. Unanchored, a pattern may match anywhere. What needs backtracking
// (backreferences, look-around) is not part of it. The time is that of the text's length times the pattern's, whatever they hold.

import type { Loop, Step, Test } from './runaway.ts'
import { checkRunaway } from './runaway.ts'

/** At most so many steps does a pattern have, repetitions written out. */
const MAX_STEPS = 500
export const MAX_PATTERN = 200
export const MAX_TEXT = 10_000

type Node =
  | { kind: 'one'; test: Test }
  | { kind: 'all'; of: Node[] }
  | { kind: 'any'; of: Node[] }
  | { kind: 'repeat'; node: Node; least: number; most: number; at: number }

interface Program {
  steps: Step[]
  work: number
  /** The outermost one that is being written. */
  loop: Loop | undefined
}

export class Pattern {
  readonly #steps: readonly Step[]
  readonly #first: number
  readonly #seen: Uint32Array
  readonly #atStart: boolean
  readonly #atEnd: boolean

  /** Throws an Error that says what is wrong with it. */
  constructor(source: string) {
    if (source.length > MAX_PATTERN) throw new Error(`it is longer than ${MAX_PATTERN} characters`)
    this.#atStart = source.startsWith('^')
    this.#atEnd = /(^|[^\\])(\\\\)*\$$/.test(source)
    const reader = new Reader(source, this.#atStart ? 1 : 0, this.#atEnd ? 1 : 0)
    const node = reader.read()
    if (node.kind === 'any' && (this.#atStart || this.#atEnd))
      throw new Error('it is not clear what ^ or $ belongs to: put what | parts in a group, as in ^(a|b)$')
    const steps: Step[] = [{ found: true }]
    this.#first = write(node, 0, { steps, work: MAX_STEPS * 10, loop: undefined })
    checkRunaway(steps, reader.edges)
    this.#steps = steps
    this.#seen = new Uint32Array(steps.length)
  }

  matches(text: string): boolean {
    // Which steps have been entered for this character: marked with its number, so that nothing is cleared in between.
    this.#seen.fill(0)
    let now: number[] = []
    let next: number[] = []
    let mark = 1
    let found = this.#enter(this.#first, now, mark)
    for (const character of text) {
      if (found && !this.#atEnd) return true
      mark++
      found = false
      next.length = 0
      for (const at of now) {
        const step = this.#steps[at] as Step
        if ('test' in step && step.test(character)) found = this.#enter(step.next, next, mark) || found
      }
      if (!this.#atStart) found = this.#enter(this.#first, next, mark) || found
      else if (next.length === 0) return false
      ;[now, next] = [next, now]
    }
    return found
  }

  /** With all that is reached from there without another character; answers whether the end is among it. */
  #enter(first: number, into: number[], mark: number): boolean {
    const open = [first]
    let found = false
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      if (this.#seen[at] === mark) continue
      this.#seen[at] = mark
      into.push(at)
      if (at === 0) found = true
      const step = this.#steps[at] as Step
      if ('either' in step) open.push(...step.either)
    }
    return found
  }
}

/** Backwards: what a node goes on to is written already. Answers where the node begins. */
function write(node: Node, next: number, program: Program): number {
  const { steps } = program
  // What is empty takes no step, and can be repeated a thousand times a thousand times.
  if (--program.work < 0) throw new Error('it repeats repetitions too often')
  const add = (step: Step): number => {
    if (steps.length >= MAX_STEPS)
      throw new Error(`it takes more than ${MAX_STEPS} steps, repetitions written out`)
    return steps.push(step) - 1
  }
  switch (node.kind) {
    case 'one':
      return add({ test: node.test, next, loop: program.loop })
    case 'all':
      return node.of.reduceRight((after, each) => write(each, after, program), next)
    case 'any':
      return add({ either: node.of.map((each) => write(each, next, program)) })
    case 'repeat': {
      let at = next
      if (node.most === Number.POSITIVE_INFINITY) {
        const loop = { either: [next] }
        at = add(loop)
        const outer = program.loop
        program.loop ??= { at: node.at }
        loop.either.push(write(node.node, at, program))
        program.loop = outer
      } else {
        for (let count = node.least; count < node.most; count++)
          at = add({ either: [next, write(node.node, at, program)] })
      }
      for (let count = 0; count < node.least; count++) at = write(node.node, at, program)
      return at
    }
  }
}

const DIGIT: Test = (c) => c >= '0' && c <= '9'
const WORD: Test = (c) => DIGIT(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c === '_'
const SPACE: Test = (c) => /^\s$/.test(c)
const not =
  (test: Test): Test =>
  (c) =>
    !test(c)
const CLASSES: Record<string, Test> = {
  d: DIGIT,
  w: WORD,
  s: SPACE,
  D: not(DIGIT),
  W: not(WORD),
  S: not(SPACE),
}
/** Of the classes above, and of `.`. */
const EDGES = [
  0, 0x09, 0x0a, 0x0b, 0x0e, 0x20, 0x21, 0x30, 0x3a, 0x41, 0x5b, 0x5f, 0x60, 0x61, 0x7b, 0xa0, 0xa1, 0x1680,
  0x1681, 0x2000, 0x200b, 0x2028, 0x202a, 0x202f, 0x2030, 0x205f, 0x2060, 0x3000, 0x3001, 0xfeff, 0xff00,
]
const ESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t' }
const pointOf = (c: string): number => c.codePointAt(0) as number
const MAX_DEPTH = 20

class Reader {
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
function literal(escaped: string): string {
  const known = ESCAPES[escaped]
  if (known !== undefined) return known
  if (/^[A-Za-z0-9]$/.test(escaped)) throw new Error(`\\${escaped} is not part of it`)
  return escaped
}
