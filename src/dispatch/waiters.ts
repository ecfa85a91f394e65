// Waits for runs to end: told by a hint, else found by polling; every wait settles, and leaves nothing behind that holds the process.

import { Batcher } from '../base/batcher.ts'
import { DeadlineTimer } from '../base/deadline-timer.ts'
import type { Timer } from '../base/environment.ts'
import { environment } from '../base/environment.ts'
import { DeferqError, isDeferqError } from '../base/errors.ts'
import type { Placed } from '../base/unordered-set.ts'
import { UnorderedSet } from '../base/unordered-set.ts'
import type { Hint, Standing } from '../contract/engine.ts'
import { isEnded } from '../contract/engine.ts'
import type { DispatchOptions, WaitOptions } from '../tasks/options.ts'
import { checkWait } from '../tasks/options.ts'
import { keyOf } from '../values/fingerprint.ts'
import type { RunOptions } from './backend.ts'

// Hints make waiting quick; polling makes it sure. One read a second for all that this process waits for.
const POLL_MS = 1_000
// A store that has been away for this long fails the waits on it; until then it may come back.
const PATIENCE_MS = 15_000
const CHUNK = 500

/** The reading half of a store. */
export interface Reading {
  read(ids: readonly string[], watch?: boolean): Promise<readonly (Standing | undefined)[]>
}

interface Wait extends Placed {
  settle(run: Standing | DeferqError): void
}

export class Waiters {
  readonly #store: () => Promise<Reading>
  readonly #reads: Batcher<string, Standing | undefined>
  readonly #waits = new Map<string, UnorderedSet<Wait>>()
  readonly #alarm = new DeadlineTimer((now) => this.#rung(now))
  #polling = false
  #again = false
  #closed: DeferqError | undefined
  #awaySince: number | undefined

  constructor(store: () => Promise<Reading>) {
    this.#store = store
    this.#reads = new Batcher(async (ids) => (await store()).read(ids, true))
  }

  /** `watched`: the store has been told already that this process waits for the run. */
  wait(id: string, options: WaitOptions = {}, watched = false): Promise<Standing> {
    const { signal } = options
    const timeoutMs = checkWait(options, 'result()')
    if (signal?.aborted) return Promise.reject(aborted(id, signal))
    if (this.#closed) return Promise.reject(this.#closed)
    return new Promise((resolve, reject) => {
      let timer: Timer | undefined
      const wait: Wait = {
        place: -1,
        settle: (ended) => {
          this.#remove(id, wait)
          environment.clearTimeout(timer)
          signal?.removeEventListener('abort', onAbort)
          if (ended instanceof DeferqError) reject(ended)
          else resolve(ended)
        },
      }
      const onAbort = (): void => wait.settle(aborted(id, signal as AbortSignal))
      signal?.addEventListener('abort', onAbort, { once: true })
      if (timeoutMs !== undefined) {
        const late = (): void => wait.settle(overdue(id, timeoutMs))
        timer = environment.setTimeout(late, Math.min(timeoutMs, 2_147_483_647))
      }
      this.#add(id, wait)
      if (!watched) this.#look(id)
    })
  }

  /** What the engine hears. */
  hear(hint: Hint): void {
    if (hint.kind === 'ended') {
      if (!this.#waits.has(hint.id)) return
      if (hint.run === undefined) this.#look(hint.id)
      else this.#settle(hint.id, hint.run)
    } else if (hint.kind === 'changed') {
      void this.#poll()
    }
  }

  close(): void {
    this.#closed = new DeferqError(
      'CLOSED',
      'This deferq was closed while the result was waited for; the run goes on.',
    )
    for (const [id] of this.#waits) this.#settle(id, this.#closed)
    this.#alarm.stop()
  }

  #add(id: string, wait: Wait): void {
    let waits = this.#waits.get(id)
    if (waits === undefined) this.#waits.set(id, (waits = new UnorderedSet()))
    waits.add(wait)
    if (this.#waits.size > 1) return
    // Somebody awaits this, and a process that ended now would leave the wait unsettled.
    this.#alarm.hold(true)
    this.#alarm.by(environment.monotonic() + POLL_MS)
  }

  #rung(now: number): number {
    if (this.#waits.size === 0) return Number.POSITIVE_INFINITY
    void this.#poll()
    return now + POLL_MS
  }

  #remove(id: string, wait: Wait): void {
    const waits = this.#waits.get(id)
    waits?.delete(wait)
    if (waits?.size === 0) this.#waits.delete(id)
    if (this.#waits.size === 0) {
      this.#alarm.hold(false)
      this.#awaySince = undefined
    }
  }

  #settle(id: string, run: Standing | DeferqError): void {
    for (const wait of this.#waits.get(id)?.all() ?? []) wait.settle(run)
  }

  /** A failed read says nothing about the run: the next poll looks again. */
  #look(id: string): void {
    this.#reads.add(id).then(
      (run) => this.#found(id, run),
      (error) => this.#missed(error),
    )
  }

  #found(id: string, run: Standing | undefined): void {
    this.#awaySince = undefined
    if (run === undefined) this.#settle(id, notFound(id))
    else if (isEnded(run.status)) this.#settle(id, run)
  }

  #missed(error: unknown): void {
    this.#awaySince ??= environment.monotonic()
    // An absent store may come back by waiting; the rest (closed, a missing package) is for somebody to put right.
    const mayPass = !isDeferqError(error) || error.code === 'STORE_UNAVAILABLE' || error.code === 'STORE_FULL'
    if (mayPass && environment.monotonic() - this.#awaySince < PATIENCE_MS) return
    const failure =
      error instanceof DeferqError
        ? error
        : new DeferqError('STORE_UNAVAILABLE', 'The store can’t be read.', { cause: error })
    for (const [id] of this.#waits) this.#settle(id, failure)
  }

  /** Everything that is waited for, in chunks; a `changed` hint during a poll makes it look once more. */
  async #poll(): Promise<void> {
    if (this.#polling) {
      this.#again = true
      return
    }
    this.#polling = true
    try {
      do {
        this.#again = false
        const store = await this.#store()
        const ids = [...this.#waits.keys()]
        for (let at = 0; at < ids.length; at += CHUNK) {
          const chunk = ids.slice(at, at + CHUNK)
          const runs = await store.read(chunk, true)
          chunk.forEach((id, index) => {
            this.#found(id, runs[index])
          })
        }
      } while (this.#again && this.#waits.size > 0)
    } catch (error) {
      this.#missed(error)
    } finally {
      this.#polling = false
    }
  }
}

/** Splits the options of `run` into those of the dispatch and those of the wait, which are checked. */
export function waitingOf(
  name: string,
  options: RunOptions | undefined,
): { rest: DispatchOptions | undefined; waiting: WaitOptions } {
  if (options === undefined) return { rest: undefined, waiting: {} }
  const { wait, ...rest } = options
  const waiting: WaitOptions = {}
  if (wait !== undefined) {
    waiting.timeout = wait
    checkWait(waiting, `run('${name}')`, 'wait')
  }
  if (rest.signal !== undefined) waiting.signal = rest.signal
  return { rest, waiting }
}

const short = (id: string): string => `${id.slice(0, 12)}…`

export function notFound(id: string): DeferqError {
  return new DeferqError(
    'TASK_NOT_FOUND',
    `No run has the id ${short(id)}: it never was, or its retention is over. Raise 'retention' to keep ended runs for longer.`,
    { details: { taskId: id, fingerprint: keyOf(id) } },
  )
}

function overdue(id: string, timeoutMs: number): DeferqError {
  return new DeferqError(
    'WAIT_TIMEOUT',
    `The run ${short(id)} has not ended within ${timeoutMs} ms. It goes on: wait again, or ask getStatus().`,
    { details: { taskId: id } },
  )
}

function aborted(id: string, signal: AbortSignal): DeferqError {
  return new DeferqError('ABORTED', `The wait for the run ${short(id)} was aborted; the run goes on.`, {
    cause: signal.reason,
    details: { taskId: id },
  })
}
