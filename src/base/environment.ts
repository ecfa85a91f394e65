// The one source of time, timers and randomness: nothing else in the library reads a clock or draws a number.
import { nodeCrypto } from './crypto.ts'

/** A timer as `setTimeout` and `setInterval` answer it. */
export interface Timer {
  /** Keeps the process alive until the timer fires (the default). */
  ref(): unknown
  /** Lets the process end before the timer fires. */
  unref(): Timer
}

export interface Environment {
  /** Wall clock: milliseconds since 1970. It can jump. Use it for moments. */
  now(): number
  /** Milliseconds since an unknown start. It never jumps. Use it for durations. */
  monotonic(): number
  setTimeout(run: () => void, ms: number): Timer
  clearTimeout(timer: Timer | undefined): void
  setInterval(run: () => void, ms: number): Timer
  clearInterval(timer: Timer | undefined): void
  /** Runs `run` after the input and output that is pending now. */
  setImmediate(run: () => void): void
  /** A number from 0 to 1, without 1. Not for secrets. */
  random(): number
  /** Bytes that nobody can guess. */
  randomBytes(size: number): Buffer
  /** The random part of a run's id: 24 hexadecimal characters that nobody can guess. */
  randomRun(): string
  randomUUID(): string
}

const RUN_BYTES = 12
// One call of the system gives the randomness of 512 runs: the call costs far more than the bytes.
const pool = Buffer.allocUnsafeSlow(RUN_BYTES * 512)
let used = pool.length

function pooledRun(): string {
  if (used === pool.length) {
    nodeCrypto().randomFillSync(pool)
    used = 0
  }
  used += RUN_BYTES
  return pool.toString('hex', used - RUN_BYTES, used)
}

type NodeTimer = NodeJS.Timeout | undefined

/** Node's clock, timers and randomness. */
export const realEnvironment: Environment = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer as NodeTimer),
  setInterval: (run, ms) => setInterval(run, ms),
  clearInterval: (timer) => clearInterval(timer as NodeTimer),
  setImmediate: (run) => void setImmediate(run),
  random: () => Math.random(),
  randomBytes: (size) => nodeCrypto().randomBytes(size),
  randomRun: pooledRun,
  randomUUID: () => nodeCrypto().randomUUID(),
}

let current = realEnvironment

/** The environment of this process: Node's, unless a test has installed another one. */
export const environment: Environment = {
  now: () => current.now(),
  monotonic: () => current.monotonic(),
  setTimeout: (run, ms) => current.setTimeout(run, ms),
  clearTimeout: (timer) => current.clearTimeout(timer),
  setInterval: (run, ms) => current.setInterval(run, ms),
  clearInterval: (timer) => current.clearInterval(timer),
  setImmediate: (run) => current.setImmediate(run),
  random: () => current.random(),
  randomBytes: (size) => current.randomBytes(size),
  randomRun: () => current.randomRun(),
  randomUUID: () => current.randomUUID(),
}

/** For tests: every clock, timer and random number of this process comes from `other`. Answers a function that takes it back. */
export function installEnvironment(other: Environment): () => void {
  const before = current
  current = other
  return () => {
    current = before
  }
}
