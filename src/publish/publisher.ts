// The publisher: a dispatch said word by word, or in one call, that gates may hold back.

import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import type { Duration } from '../base/time.ts'
import { durationMs, momentMs } from '../base/time.ts'
import { isEnded, KEY_LENGTH } from '../contract/engine.ts'
import type { Backend } from '../dispatch/backend.ts'
import type { Rules } from '../rules/index.ts'
import type { DispatchOptions } from '../tasks/options.ts'
import type { Dispatched, Meta } from '../tasks/task.ts'

/** What publishing came to: a dispatch's answer, or the gate that held it back. */
export type Published<Result = unknown> = (Dispatched<Result> & { readonly gated: false }) | Gated

export interface Gated {
  readonly gated: true
  readonly name: string
  /** `when` said no, or `skipIf` said yes. */
  readonly by: 'when' | 'skipIf'
  /** What was given with the gate, or its function's name. */
  readonly reason: string
}

export type Gate<Input = unknown> = (payload: Input) => boolean | Promise<boolean>
export type Moment = Date | number | string
/** A moment, or a function of the payload that tells it. */
export type MomentOf<Input = unknown> = Moment | ((payload: Input) => Moment | Promise<Moment>)

/** For `quick`: the options of a dispatch, and gates. */
export type QuickOptions<Input = unknown> = DispatchOptions & { when?: Gate<Input>; skipIf?: Gate<Input> }

export class Publisher<Input = unknown, Result = unknown> {
  readonly #backend: Backend
  readonly #name: string
  readonly #gates: { by: Gated['by']; gate: Gate<Input>; reason: string }[] = []
  #payload: unknown = {}
  #at: MomentOf<Input> | undefined
  #options: DispatchOptions = {}

  constructor(backend: Backend, name: string) {
    this.#backend = backend
    this.#name = name
  }

  /** The params ({}). */
  payload(payload: Input): this {
    this.#payload = payload
    return this
  }

  /** What the handler sees as `context.meta`, and receipts show. */
  meta(meta: Meta): this {
    return this.options({ meta })
  }

  /** Due after this long. */
  in(delay: Duration): this {
    durationMs(delay, `${this.#where}.in()`)
    this.#at = undefined
    return this.options({ delay })
  }

  /** Due at this moment, or at what the function says when it is committed; what is past is due now. */
  at(moment: MomentOf<Input>): this {
    if (typeof moment !== 'function') momentMs(moment, `${this.#where}.at()`)
    this.#at = moment
    const { delay: _, ...rest } = this.#options
    this.#options = rest
    return this
  }

  /** Equal texts are equal work: all get the one run, or its result. */
  idempotency(idempotencyKey: string): this {
    return this.options({ idempotencyKey })
  }

  /** Asked once more just before it runs. */
  rules(rules: Rules): this {
    return this.options({ rules })
  }

  /** Not published unless all of these say true. */
  when(gate: Gate<Input>, reason?: string): this {
    return this.#gate('when', gate, reason)
  }

  /** Not published if one of these says true. */
  skipIf(gate: Gate<Input>, reason?: string): this {
    return this.#gate('skipIf', gate, reason)
  }

  /** Whatever else a dispatch can be told: queue, priority, scope, callback, … */
  options(options: DispatchOptions): this {
    this.#options = { ...this.#options, ...options }
    return this
  }

  /** What is malformed is refused first, what is there already answers next, and only then the gates are asked. */
  async commit(): Promise<Published<Result>> {
    const backend = this.#backend
    const payload = this.#payload as Input
    const options = { ...this.#options }
    if (this.#at !== undefined) {
      const moment = typeof this.#at === 'function' ? await this.#at(payload) : this.#at
      options.runAt = new Date(momentMs(moment, `${this.#where}.at()`))
    }
    const { id } = await backend.draft(this.#name, payload, options)
    const there = this.#gates.length > 0 && (await this.#isThere(id.slice(0, KEY_LENGTH)))
    const before = there ? undefined : await this.#held(payload)
    if (before !== undefined) return before
    const dispatched = (await backend.dispatch(this.#name, payload, options)) as Dispatched<Result>
    if (there && dispatched.outcome === 'created') {
      // What was there came to its end in this very moment: this is a run of its own, and gates are for it.
      const after = await this.#held(payload)
      if (after !== undefined) {
        await backend.cancel([dispatched.taskId], `Held back by ${after.by}: ${after.reason}`)
        return after
      }
    }
    return Object.assign(dispatched, { gated: false as const })
  }

  /** A run that it would join, or a result that would answer it; by this process's clock, which decides on nothing but whom to ask first. */
  async #isThere(key: string): Promise<boolean> {
    const [run] = await this.#backend.read([key])
    if (run === undefined || this.#options.refresh) return run !== undefined && !isEnded(run.status)
    return (
      !isEnded(run.status) || (run.status === 'completed' && environment.now() < (run.staleUntil as number))
    )
  }

  async #held(payload: Input): Promise<Gated | undefined> {
    for (const { by, gate, reason } of this.#gates) {
      if (Boolean(await gate(payload)) === (by === 'when')) continue
      return { gated: true, name: this.#name, by, reason }
    }
    return undefined
  }

  #gate(by: Gated['by'], gate: Gate<Input>, reason: string | undefined): this {
    if (typeof gate !== 'function') {
      throw new DeferqError(
        'INVALID_OPTION',
        `${this.#where}.${by}() must be a function of the payload, and is ${typeof gate}.`,
      )
    }
    this.#gates.push({ by, gate, reason: reason ?? (gate.name || by) })
    return this
  }

  get #where(): string {
    return `publish('${this.#name}')`
  }
}

/** All in one: due at a moment, after a while, or at once where that is left out. */
export function quick<Input, Result>(
  publisher: Publisher<Input, Result>,
  due: MomentOf<Input> | undefined,
  payload: Input,
  { when, skipIf, ...options }: QuickOptions<Input>,
): Promise<Published<Result>> {
  publisher.payload(payload).options(options)
  // '5m' and 'PT5M' are durations, which no moment looks like.
  if (typeof due === 'string' && /^\s*(\d+(\.\d+)?\s*[a-z]|P)/.test(due)) publisher.in(due)
  else if (due !== undefined) publisher.at(due)
  if (when !== undefined) publisher.when(when)
  if (skipIf !== undefined) publisher.skipIf(skipIf)
  return publisher.commit()
}
