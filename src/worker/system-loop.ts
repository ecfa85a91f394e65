// SystemLoop: takes on deferq's own runs, whatever the worker's concurrency, queues and names are.

import { errorToJson } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { backoffMs, sleep } from '../base/time.ts'
import type { AttemptOutcome, Claimed, Claims, Engine, SettleAnswer, Want } from '../contract/engine.ts'
import type { SystemTask } from '../contract/system-task.ts'
import { failureText } from '../dispatch/receipt.ts'

/** By the name of the run. A module is loaded with the first such run. */
export const SYSTEM_TASKS: ReadonlyMap<string, () => Promise<SystemTask>> = new Map([
  ['deferq.schedule', async () => (await import('../schedule/tick.ts')).tick],
  ['deferq.batch', async () => (await import('../batch/look.ts')).look],
])

const LIMIT = 50
// Hints and due times are mostly those of tasks: so often, at the most, is it worth a look.
const LEAST_MS = 100
const BACKOFF = { initial: 1_000, max: 60_000, jitter: 0.5 }

export interface SystemLoopNeeds {
  engine: Engine
  leaseMs: number
  sleepMs: number
  logger: Logger
  /** Something was done, which may have brought up work. */
  worked(): void
  /** There is nothing more to do. */
  quiet(): void
  trouble(error: unknown, message: string): void
}

export class SystemLoop {
  /** The last look has found nothing to do. */
  quiet = false
  readonly #needs: SystemLoopNeeds
  readonly #want: Want
  readonly #tasks: ReadonlyMap<string, () => Promise<SystemTask>>
  /** Of ended attempts, until the store has taken them. */
  #outcomes: AttemptOutcome[] = []
  #nudged = false
  #wake: AbortController | undefined

  constructor(needs: SystemLoopNeeds, tasks = SYSTEM_TASKS) {
    this.#needs = needs
    this.#tasks = tasks
    this.#want = { names: [...tasks.keys()], limit: LIMIT, leaseMs: needs.leaseMs }
  }

  /** There may be something to do. */
  nudge(): void {
    this.#nudged = true
    this.#wake?.abort()
  }

  async run(signal: AbortSignal): Promise<void> {
    const { sleepMs, trouble } = this.#needs
    signal.addEventListener('abort', () => this.#wake?.abort(), { once: true })
    let failures = 0
    while (!signal.aborted) {
      let pauseMs = sleepMs
      try {
        const { claimed, nextDueMs = sleepMs } = await this.#turn(this.#want)
        failures = 0
        // What is due and held by somebody is looked at again, but not without a pause.
        pauseMs = claimed.length > 0 ? 0 : Math.min(sleepMs, nextDueMs || LEAST_MS)
      } catch (error) {
        trouble(error, 'looking after schedules and batches failed; it is tried again')
        pauseMs = Math.min(5_000, LEAST_MS * 2 ** ++failures)
      }
      if (pauseMs > 0) await this.#pause(pauseMs, signal)
    }
    // With the store away, leases and waits end by themselves.
    if (failures > 0) return
    await this.#turn({ ...this.#want, limit: 0 }).catch((error: unknown) =>
      trouble(error, 'what was looked after could not be left to others'),
    )
  }

  /** Settles what is done, and works on what is due now. */
  async #turn(want: Want): Promise<Claims> {
    const { engine, logger, worked, quiet } = this.#needs
    const outcomes = this.#outcomes
    const answer: Claims & { answers?: SettleAnswer[] } =
      outcomes.length === 0 ? await engine.claim(want) : await engine.settle(outcomes, want)
    for (const { id, reason } of answer.malformed ?? [])
      logger.error({ id, reason }, 'a malformed entry was set aside')
    this.#outcomes = await Promise.all(answer.claimed.map((claimed) => this.#work(claimed)))
    if (outcomes.length > 0) worked()
    const before = this.quiet
    this.quiet = answer.claimed.length === 0 && answer.nextDueMs !== 0
    if (this.quiet && !before) quiet()
    return answer
  }

  async #work({ entry, token }: Claimed): Promise<AttemptOutcome> {
    const { id, name, attempt } = entry
    try {
      const task = await (this.#tasks.get(name) as () => Promise<SystemTask>)()
      return { ...(await task(entry, this.#needs.engine)), id, token }
    } catch (error) {
      this.#needs.logger.error({ error, taskId: id, name, attempt }, `'${name}' failed and is tried again`)
      const delayMs = backoffMs(BACKOFF, Math.min(attempt, 10), error)
      return { id, token, kind: 'retry', error: failureText(attempt, errorToJson(error)), delayMs }
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    await sleep(Math.min(ms, LEAST_MS), signal)
    this.#wake = new AbortController()
    if (ms > LEAST_MS && !this.#nudged && !signal.aborted) await sleep(ms - LEAST_MS, this.#wake.signal)
    this.#wake = undefined
    this.#nudged = false
  }
}
