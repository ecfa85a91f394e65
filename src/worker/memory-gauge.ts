// The memory that this process uses, measured at most four times a second.
import { environment } from '../base/environment.ts'

const EVERY_MS = 250

export class MemoryGauge {
  #measuredAt = -Infinity
  #usedMb = 0

  usedMb(): number {
    const now = environment.monotonic()
    if (now - this.#measuredAt > EVERY_MS) {
      const { heapUsed, external } = process.memoryUsage()
      this.#usedMb = (heapUsed + external) / 1_048_576
      this.#measuredAt = now
    }
    return this.#usedMb
  }
}
