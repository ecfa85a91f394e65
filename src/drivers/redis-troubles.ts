// Turns faults into `trouble` hints, each kind once in a while: a store that is away fails every few
// milliseconds.
import { environment } from '../base/environment.ts'

const QUIET_MS = 10_000
const MAX_KINDS = 100

export class Troubles {
  readonly #tell: (message: string, error: unknown) => void
  readonly #toldAt = new Map<string, number>()

  constructor(tell: (message: string, error: unknown) => void) {
    this.#tell = tell
  }

  hear(message: string, error?: unknown): void {
    const now = environment.monotonic()
    // Some tell when they try again, with another number each time.
    const kind = (error instanceof Error ? `${message} ${error.message}` : message).replace(
      /\b\d+ ?ms\b/g,
      'a while',
    )
    if (now - (this.#toldAt.get(kind) ?? Number.NEGATIVE_INFINITY) < QUIET_MS) return
    if (this.#toldAt.size >= MAX_KINDS) this.#toldAt.clear()
    this.#toldAt.set(kind, now)
    this.#tell(message, error)
  }
}
