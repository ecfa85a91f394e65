// Says of an attempt that did not succeed whether it is given up or tried again, when, and what is kept of it.
import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import { backoffMs } from '../base/time.ts'
import type { Context } from '../tasks/task.ts'
import { withoutRetry, withRetryAt } from '../tasks/task.ts'
import { masked } from './compose.ts'
import type { Answer } from './exchange.ts'
import type { Order } from './request-spec.ts'
import { retryAfterMs } from './retry-after.ts'
import { tallied } from './tally.ts'

const EXCERPT = 500
// No receiver puts a request off for longer, nor has it sent in a tight loop.
const MOST_MS = 86_400_000
const LEAST_MS = 1_000

/** What was seen: an answer, or what kept it from coming. */
interface Seen {
  answer?: Answer
  cause?: unknown
}

export class Verdict {
  /** What is shown in no error. */
  hidden: readonly string[] = []
  readonly #order: Order
  readonly #context: Context
  readonly #begun = environment.monotonic()

  constructor(order: Order, context: Context) {
    this.#order = order
    this.#context = context
  }

  get tookMs(): number {
    return Math.round(environment.monotonic() - this.#begun)
  }

  /** By the store's clock, which has said when this attempt was claimed. */
  expired(inMs = 0): boolean {
    const { expiresAt } = this.#order
    return expiresAt !== undefined && this.#context.startedAt.getTime() + this.tookMs + inMs >= expiresAt
  }

  /** `label` is what the attempt counts as in the sum of all. */
  givenUp(what: string, label: string, seen: Seen = {}): DeferqError {
    return withoutRetry(this.#failure(what, label, seen))
  }

  again(what: string, label: string, seen: Seen = {}): DeferqError {
    const waitMs = this.#waitMs(seen.answer)
    if (this.expired(waitMs)) return this.givenUp(`${what}, and expires before another attempt`, label, seen)
    return withRetryAt(this.#failure(what, label, seen), waitMs)
  }

  #waitMs(answer: Answer | undefined): number {
    const interval = backoffMs(this.#order.interval, this.#context.attempt, undefined)
    const asked = answer && retryAfterMs(answer.headers['retry-after'], answer.headers.date)
    return asked === undefined ? interval : Math.min(MOST_MS, Math.max(asked, Math.min(LEAST_MS, interval)))
  }

  /** Without path and query: in many a webhook's URL they are the secret. */
  #failure(what: string, label: string, { answer, cause }: Seen): DeferqError {
    const { method, url } = this.#order
    const details: Record<string, unknown> = { tookMs: this.tookMs, attempts: tallied(this.#context, label) }
    if (answer !== undefined) details.status = answer.status
    const excerpt = masked(answer?.body.text ?? '', this.hidden)
      .slice(0, EXCERPT)
      .toWellFormed()
    if (excerpt !== '') details.body = excerpt
    return new DeferqError('REQUEST_FAILED', `${method} to ${url.host} ${what}.`, {
      details,
      ...(cause === undefined ? {} : { cause }),
    })
  }
}
