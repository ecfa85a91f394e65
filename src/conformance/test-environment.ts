// An environment for tests: time stands still until it is moved by hand, and random numbers come from a seed.
import type { Environment, Timer } from '../base/environment.ts'
import { installEnvironment, realEnvironment } from '../base/environment.ts'

interface Pending extends Timer {
  at: number
  order: number
  everyMs: number | undefined
  run: () => void
}

/** Rounds of the event loop after each timer: promises settle, and I/O of this process gets through. */
const ROUNDS = 3

/**
 * ```ts
 * const time = new TestEnvironment({ seed: 1 })
 * const uninstall = time.install()
 * await time.advance(3_600_000) // every timer of the next hour fires, in order
 * time.jump(-60_000) // the wall clock alone
 * uninstall()
 * ```
 */
export class TestEnvironment implements Environment {
  #wall: number
  #monotonic = 1_000
  #order = 0
  #state: number
  readonly #pending = new Set<Pending>()

  constructor({ seed = 1, now = 1_767_225_600_000 }: { seed?: number; now?: number } = {}) {
    this.#state = seed >>> 0
    this.#wall = now
  }

  /** Makes this the environment of the process. Answers a function that takes it back. */
  install(): () => void {
    return installEnvironment(this)
  }

  /** Moves both clocks on, and fires what falls due, in order. */
  async advance(ms: number): Promise<void> {
    const end = this.#monotonic + ms
    await settled()
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#move(Math.max(this.#monotonic, next.at))
      if (next.everyMs === undefined) this.#pending.delete(next)
      else next.at += Math.max(1, next.everyMs)
      next.run()
      await settled()
    }
    this.#move(end)
  }

  /** Moves the wall clock alone, as an administrator or a time server does. */
  jump(ms: number): void {
    this.#wall += ms
  }

  /** How many timers are set. */
  get timers(): number {
    return this.#pending.size
  }

  readonly now = (): number => Math.floor(this.#wall)
  readonly monotonic = (): number => this.#monotonic
  readonly setTimeout = (run: () => void, ms: number): Timer => this.#set(run, ms, undefined)
  readonly setInterval = (run: () => void, ms: number): Timer => this.#set(run, ms, ms)
  readonly clearTimeout = (timer: Timer | undefined): void => {
    this.#pending.delete(timer as Pending)
  }
  readonly clearInterval = (timer: Timer | undefined): void => this.clearTimeout(timer)
  readonly setImmediate = (run: () => void): void => realEnvironment.setImmediate(run)

  /** Mulberry32: the same seed gives the same numbers. */
  readonly random = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }

  readonly randomBytes = (size: number): Buffer =>
    Buffer.from(Array.from({ length: size }, () => Math.floor(this.random() * 256)))
  readonly randomRun = (): string => this.randomBytes(12).toString('hex')
  readonly randomUUID = (): string => {
    const hex = this.randomBytes(16).toString('hex')
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`
  }

  #set(run: () => void, ms: number, everyMs: number | undefined): Timer {
    const timer: Pending = {
      at: this.#monotonic + Math.max(1, ms),
      order: ++this.#order,
      everyMs,
      run,
      ref: () => timer,
      unref: () => timer,
    }
    this.#pending.add(timer)
    return timer
  }

  /** The first timer due by `end`; of equal moments the one that was set first. */
  #next(end: number): Pending | undefined {
    let first: Pending | undefined
    for (const timer of this.#pending) {
      if (timer.at > end) continue
      if (first === undefined || timer.at < first.at || (timer.at === first.at && timer.order < first.order))
        first = timer
    }
    return first
  }

  #move(to: number): void {
    this.#wall += to - this.#monotonic
    this.#monotonic = to
  }
}

async function settled(): Promise<void> {
  for (let round = 0; round < ROUNDS; round++)
    await new Promise<void>((resolve) => realEnvironment.setImmediate(resolve))
}
