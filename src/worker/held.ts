// The attempts that a worker holds: those that run, and those that have ended and wait for their settlement.
import type { Attempt } from './attempt.ts'

/**
 * Not a Map: each time one grows or is tidied, V8 leaves a table behind that points to the next, so with what comes and goes
 * a chain of them reaches the old generation, and every attempt lives on until that is collected. Without it workers do 1.4 times as much.
 */
export class Held {
  readonly #attempts: Attempt[] = []

  get size(): number {
    return this.#attempts.length
  }

  add(attempt: Attempt): void {
    attempt.place = this.#attempts.push(attempt) - 1
  }

  /** The last one takes its place; false when it is not held, or no more. */
  delete(attempt: Attempt): boolean {
    const { place } = attempt
    if (this.#attempts[place] !== attempt) return false
    const last = this.#attempts.pop() as Attempt
    if (last !== attempt) {
      this.#attempts[place] = last
      last.place = place
    }
    attempt.place = -1
    return true
  }

  has(attempt: Attempt): boolean {
    return this.#attempts[attempt.place] === attempt
  }

  /** As they are now, whatever becomes of them meanwhile. */
  all(): Attempt[] {
    return [...this.#attempts]
  }
}
