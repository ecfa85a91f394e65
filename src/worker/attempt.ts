// One attempt at a task: decode, validate, call the handler, and say how it went; over at once when it is aborted.

import { environment } from '../base/environment.ts'
import { DeferqError, errorToJson, isDeferqError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Backoff } from '../base/time.ts'
import { backoffMs, DEFAULT_BACKOFF, durationMs } from '../base/time.ts'
import { withTraceId } from '../base/trace.ts'
import type { AttemptOutcome, Claimed } from '../contract/engine.ts'
import { VALUE } from '../contract/engine.ts'
import { endedOf, failureOf, failureText } from '../dispatch/receipt.ts'
import type { Extra } from '../dispatch/run-extras.ts'
import { metaOf, readExtra, traceIdOf } from '../dispatch/run-extras.ts'
import type { AnyTask, Context, Ended, Failure, RetryAtError } from '../tasks/task.ts'
import { isNoRetry, isRetryAt } from '../tasks/task.ts'
import { validate } from '../tasks/validate.ts'
import { decode } from '../values/decode.ts'
import { encode, Walk } from '../values/encode.ts'

/** Why an attempt is over before its handler is: what is said of it, or nothing when it is not this worker's any more. */
export type Interruption = 'timeout' | 'cancelled' | 'lost' | 'released'

export interface AttemptNeeds {
  task: AnyTask
  backoff: Backoff | undefined
  timeoutMs: number
  logger: Logger
  /** Sends this attempt's heartbeat now. */
  beat(attempt: Attempt): Promise<void>
}

// What another try can't mend: the input is what it is, and so is the shape of the result.
const FINAL = new Set(['INVALID_PARAMS', 'MALFORMED_VALUE', 'UNSTORABLE_RESULT', 'RESULT_TOO_LARGE'])

export class Attempt implements Context {
  readonly id: string
  readonly token: string
  /** When its lease was last known to hold, on this process's own monotonic clock. */
  heldAt: number
  readonly name: string
  readonly attempt: number
  readonly claimed: Claimed
  /** Given to the next heartbeat, and cleared by it. */
  progressText: string | undefined
  error: unknown
  /** How it went, once it is over; undefined when the run has gone to somebody else. */
  outcome: AttemptOutcome | undefined
  /** Among those that its worker holds. */
  place = -1
  interruption: Interruption | undefined
  readonly traceId: string | undefined
  /** When it has taken too long, on this process's own monotonic clock. */
  lateAt = Number.POSITIVE_INFINITY
  readonly #needs: AttemptNeeds
  #controller: AbortController | undefined
  #log: Logger | undefined
  #over: (() => void) | undefined
  #extra: Extra = {}
  #lastProgress = -Infinity

  /** The claim itself counts as the first beat, from the moment in which it was sent. */
  constructor(claimed: Claimed, sentAt: number, needs: AttemptNeeds) {
    this.claimed = claimed
    this.heldAt = sentAt
    this.id = claimed.entry.id
    this.token = claimed.token
    this.name = claimed.entry.name
    this.attempt = claimed.entry.attempt
    this.traceId = traceIdOf(claimed.entry.extra)
    this.#needs = needs
  }

  /** Until it is over. */
  run(): Promise<void> {
    return new Promise((resolve) => {
      this.#over = resolve
      try {
        this.#extra = readExtra(this.claimed.entry.extra)
      } catch (error) {
        this.#fail(error)
        return
      }
      const timeoutMs = this.#extra.timeoutMs ?? this.#needs.timeoutMs
      this.lateAt = environment.monotonic() + timeoutMs
      this.#handle().then(
        (outcome) => this.#finish(outcome),
        (error) => this.#fail(error),
      )
    })
  }

  /** The handler may go on for as long as it ignores its signal: nobody listens to it any more, and its slot is free. */
  interrupt(why: Interruption): void {
    if (this.#over === undefined) return
    this.interruption = why
    const { id, token } = this
    const error = new DeferqError(
      why === 'timeout'
        ? 'TASK_TIMEOUT'
        : why === 'cancelled'
          ? 'TASK_CANCELLED'
          : why === 'lost'
            ? 'LEASE_LOST'
            : 'ABORTED',
      why === 'timeout'
        ? `Attempt ${this.attempt} of '${this.name}' took longer than its timeout, and was aborted.`
        : `Attempt ${this.attempt} of '${this.name}' was ${why} while it ran.`,
    )
    if (why === 'timeout') this.#fail(error)
    else this.#finish(why === 'released' ? { id, token, kind: 'released' } : undefined)
    this.#controller ??= new AbortController()
    this.#controller.abort(error)
  }

  // Made when first asked for: a third of a no-op task's cost would be its AbortController.
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    return this.#controller.signal
  }

  get parent(): Ended | undefined {
    const { parent } = this.claimed.entry
    return parent === undefined ? undefined : endedOf(parent)
  }

  get maxAttempts(): number {
    return this.claimed.entry.policy.maxAttempts
  }

  get createdAt(): Date {
    return new Date(this.claimed.entry.createdAt)
  }

  get startedAt(): Date {
    return new Date(this.claimed.entry.startedAt as number)
  }

  get history(): Failure[] {
    return this.claimed.entry.errors.map(failureOf)
  }

  get meta(): Context['meta'] {
    return metaOf(this.claimed.entry.extra)
  }

  get occurrence(): Context['occurrence'] {
    const { extra, createdAt } = this.claimed.entry
    const { occurrence } = readExtra(extra)
    return occurrence && { schedule: occurrence.schedule, at: new Date(occurrence.at ?? createdAt) }
  }

  get log(): Logger {
    this.#log ??= bound(this.#needs.logger, aboutOf(this))
    return this.#log
  }

  // Fields, not methods: handlers take them out of their context, as in run(params, { progress }).
  readonly progress = (value: unknown): void => {
    this.progressText = new Walk('params', 'progress').encode(value)
    const now = environment.monotonic()
    if (now - this.#lastProgress < 1_000) return
    this.#lastProgress = now
    // A beat that fails is repeated by the heartbeat, with this progress.
    this.#needs.beat(this).catch(() => {})
  }

  readonly touch = (): Promise<void> => this.#needs.beat(this)

  async #handle(): Promise<AttemptOutcome> {
    const { task } = this.#needs
    const { claimed } = this
    const input = claimed[VALUE] ?? decode(claimed.entry.params)
    const params =
      task.schema === undefined ? input : await validate(task.schema, input, `the task '${this.name}'`)
    const { traceId } = this
    const { rules } = this.#extra
    const broken = rules === undefined ? undefined : await this.#broken(rules, params)
    if (broken !== undefined) return broken
    const run = (): unknown => task.run?.(params, this)
    const result = await (traceId === undefined ? run() : withTraceId(traceId, run))
    const { id, token } = this
    return { id, token, kind: 'completed', result: encode(result, 'result'), claim: claimed }
  }

  /** The end of a run whose rules no longer hold: nobody's failure. */
  async #broken(rules: string, params: unknown): Promise<AttemptOutcome | undefined> {
    const { id, token, attempt, meta } = this
    const check = (await import('../rules/index.ts')).rulesOf(rules)
    const why = check({ params, meta, facts: await this.#needs.task.options.facts?.(params) })
    if (why === undefined) return undefined
    const message = `A rule of this run of '${this.name}' no longer holds: ${why}.`
    this.error = new DeferqError('RULE_FAILED', message)
    const { stack: _here, ...json } = errorToJson(this.error)
    return { id, token, kind: 'cancelled', error: failureText(attempt, json) }
  }

  #finish(outcome: AttemptOutcome | undefined): void {
    if (this.#over === undefined) return
    this.lateAt = Number.POSITIVE_INFINITY
    this.outcome = outcome
    this.#over()
    this.#over = undefined
  }

  /** What a handler throws after its attempt was interrupted says nothing new. */
  #fail(thrown: unknown): void {
    if (this.#over === undefined) return
    let outcome: AttemptOutcome
    try {
      outcome = this.#failure(thrown)
    } catch {
      // A Proxy that throws whatever it is asked.
      outcome = this.#failure(new Error(`'${this.name}' threw something that can’t be read.`))
    }
    this.#finish(outcome)
  }

  #failure(thrown: unknown): AttemptOutcome {
    this.error = thrown
    const { id, token } = this
    const error = failureText(this.attempt, errorToJson(thrown))
    if (
      this.attempt >= this.maxAttempts ||
      isNoRetry(thrown) ||
      (isDeferqError(thrown) && FINAL.has(thrown.code))
    ) {
      return { id, token, kind: 'failed', error }
    }
    return { id, token, kind: 'retry', error, delayMs: this.#delayMs(thrown) }
  }

  #delayMs(thrown: unknown): number {
    try {
      if (isRetryAt(thrown)) return waitMs(thrown)
      return backoffMs(this.#extra.backoff ?? this.#needs.backoff ?? DEFAULT_BACKOFF, this.attempt, thrown)
    } catch (error) {
      this.log.error({ error }, 'the back-off could not be worked out; the default one is used')
      return backoffMs(DEFAULT_BACKOFF, this.attempt, thrown)
    }
  }
}

export interface About {
  taskId: string
  name: string
  attempt: number
  traceId?: string
}

/** What events and log lines say of it. */
export function aboutOf({ id, name, attempt, traceId }: Attempt): About {
  return traceId === undefined ? { taskId: id, name, attempt } : { taskId: id, name, attempt, traceId }
}

function waitMs({ at }: Pick<RetryAtError, 'at'>): number {
  return at instanceof Date
    ? Math.max(0, durationMs(Math.max(0, at.getTime() - environment.now()), 'RetryAtError'))
    : durationMs(at, 'RetryAtError')
}

function bound(logger: Logger, fields: object): Logger {
  const { child } = logger as { child?: (fields: object) => Logger }
  if (typeof child === 'function') return child.call(logger, fields)
  return {
    debug: (details, message) => logger.debug({ ...fields, ...details }, message),
    info: (details, message) => logger.info({ ...fields, ...details }, message),
    warn: (details, message) => logger.warn({ ...fields, ...details }, message),
    error: (details, message) => logger.error({ ...fields, ...details }, message),
  }
}
