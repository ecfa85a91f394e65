// The memory engine's clock: it starts at the wall clock, then runs monotonically, and notices when the wall clock jumps.
import { environment } from '../../base/environment.ts'

/** The wall clock is taken for jumped if it is off by more than this; a time server's small corrections are not. */
const JUMP_MS = 1_000

export class StoreClock {
  readonly #given: (() => number) | undefined
  readonly #offset = environment.now() - environment.monotonic()
  /** The wall clock minus this clock. */
  wallAhead = 0

  /** `given`: a clock of the caller's, which is then the wall clock as well. */
  constructor(given?: () => number) {
    this.#given = given
  }

  now(): number {
    return this.#given === undefined ? Math.floor(this.#offset + environment.monotonic()) : this.#given()
  }

  /** Compares with the wall clock; answers whether that has jumped since the last time. */
  jumped(now: number): boolean {
    if (this.#given !== undefined) return false
    const ahead = environment.now() - now
    if (Math.abs(ahead - this.wallAhead) <= JUMP_MS) return false
    this.wallAhead = ahead
    return true
  }
}
