// Patterns that can't run away: a small regular language, matched in one pass over the text, all possibilities side by side. One that
// would run away elsewhere is refused (see runaway.ts): rules travel, and may be read by what matches in another way.
//
// Literals, `.` (any character), classes ([a-z0-9_], [^…]), \d \w \s and their opposites, escapes, groups, `|`, `* + ?`, {n}, {n,},
// {n,m}, and the anchors ^ and $ at the beginning and the end. Unanchored, a pattern may match anywhere. What needs backtracking
// (backreferences, look-around) is not part of it. The time is that of the text's length times the pattern's, whatever they hold.

import type { Node } from './parse-pattern.ts'
import { Reader } from './parse-pattern.ts'
import type { Loop, Step } from './runaway.ts'
import { checkRunaway } from './runaway.ts'

/** At most so many steps does a pattern have, repetitions written out. */
const MAX_STEPS = 500
export const MAX_PATTERN = 200
export const MAX_TEXT = 10_000

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
