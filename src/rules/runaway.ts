// Which patterns would run away where they are matched by trying one possibility after the other: those that repeat something without
// end, and can match one text by it in more than one way. Each repetition then doubles the ways.

export type Test = (character: string) => boolean

/** A place in the pattern, from 1, at which something begins that is repeated without end. */
export type Loop = { at: number }

/** A step looks at one character and goes on, or goes on at once in one or two ways; the last one has found it. */
export type Step =
  | { test: Test; next: number; loop: Loop | undefined }
  | { either: number[] }
  | { found: true }

/** So often is it looked where two places lead, at most: a few milliseconds. */
const MAX_LOOKS = 20_000

type One = Extract<Step, { test: Test }>

/** Throws an Error that says where it is repeated. `edges` are the code points at which what a test answers may change. */
export function checkRunaway(steps: readonly Step[], edges: Iterable<number>): void {
  const places: One[] = []
  for (const step of steps) if ('test' in step && step.loop !== undefined) places.push(step)
  if (places.length === 0) return
  const samples = [...edges].filter((point) => point <= 0x10ffff).map((point) => String.fromCodePoint(point))
  const followers = new Followers(steps)
  const accepted = new Map<Test, bigint>()
  const acceptedBy = ({ test }: One): bigint => {
    let bits = accepted.get(test)
    if (bits === undefined) {
      bits = 0n
      for (const sample of samples) bits = (bits << 1n) | (test(sample) ? 1n : 0n)
      accepted.set(test, bits)
    }
    return bits
  }
  const number = new Map(places.map((place, index) => [place, index]))
  const seen = new Set<number>()
  const open: [One, One][] = []
  let looks = 0
  // From two places at once, over the same character. Back at one and the same place, that is one text in two ways.
  const spread = (a: One, b: One): void => {
    for (const [after, ways] of followers.of(a)) {
      for (const other of a === b ? followers.of(a).keys() : followers.of(b).keys()) {
        if (++looks > MAX_LOOKS)
          throw new Error('it has too much in a repetition to tell that it can’t run away')
        if (after === other && (a !== b || ways > 1)) throw runsAway(after)
        const pair = (number.get(after) as number) * places.length + (number.get(other) as number)
        if (after === other || seen.has(pair) || (acceptedBy(after) & acceptedBy(other)) === 0n) continue
        seen.add(pair)
        open.push([after, other])
      }
    }
  }
  for (const place of places) spread(place, place)
  for (let pair = open.pop(); pair !== undefined; pair = open.pop()) spread(...pair)
}

/** What may come next after a place, within the outermost repetition that it is in; 2 where it may in more ways than one. */
class Followers {
  readonly #steps: readonly Step[]
  /** Undefined while it is being found. */
  readonly #found = new Map<number, Map<One, number> | undefined>()

  constructor(steps: readonly Step[]) {
    this.#steps = steps
  }

  of({ next, loop }: One): Map<One, number> {
    const found = this.#from(next, loop as Loop)
    // Outside, nothing leads back to it.
    for (const place of found.keys()) if (place.loop !== loop) found.delete(place)
    return found
  }

  #from(at: number, loop: Loop): Map<One, number> {
    const known = this.#found.get(at)
    if (known !== undefined) return known
    if (this.#found.has(at))
      throw new Error(`what is repeated at ${loop.at} may be empty, and match nothing for ever`)
    this.#found.set(at, undefined)
    const found = new Map<One, number>()
    const step = this.#steps[at] as Step
    if ('test' in step) found.set(step, 1)
    else if ('either' in step) {
      for (const next of step.either) {
        for (const [place, ways] of this.#from(next, loop))
          found.set(place, Math.min(2, (found.get(place) ?? 0) + ways))
      }
    }
    this.#found.set(at, found)
    return found
  }
}

const runsAway = ({ loop }: One): Error =>
  new Error(`it could run away: what is repeated at ${loop?.at} can match one text in ever more ways`)
