// Drafts as a client makes them: checked by what is known here, and sent as items, from which the server drafts by its definitions.

import { DeferqError, isDeferqError } from '../base/errors.ts'
import { traceIdHere } from '../base/trace.ts'
import type { Draft, Verdict } from '../contract/engine.ts'
import { isEnded, MAX_BATCH, refuseTx } from '../contract/engine.ts'
import { Gathering, sameAsk } from '../dispatch/dispatcher.ts'
import type { Drafter } from '../dispatch/draft.ts'
import type { Callback, DispatchOptions } from '../tasks/options.ts'
import { isWebhook } from '../tasks/options.ts'
import type { Limits } from '../values/limits.ts'
import type { Calls } from './calls.ts'
import type { Answer, Asked } from './wire.ts'
import { itemText, optionsText, parted, verdictOf } from './wire.ts'

export class ItemDrafter {
  readonly #drafter: Drafter
  readonly #limits: Partial<Limits> | undefined

  constructor(drafter: Drafter, limits: Partial<Limits> | undefined) {
    this.#drafter = drafter
    this.#limits = limits
  }

  draft(
    name: string,
    params: unknown,
    options: DispatchOptions | undefined,
    watch: boolean,
  ): Asked | Promise<Asked> {
    refuseTx(options, 'HTTP', 'dispatch')
    const asked = (draft: Draft): Asked => {
      const text = optionsText(options, options?.traceId ?? traceIdHere(), this.#limits)
      return { ...draft, options: text }
    }
    const draft = this.#drafter.draft(name, params, withoutWebhooks(options), watch)
    return draft instanceof Promise ? draft.then(asked) : asked(draft)
  }

  /** The server keeps the keys that are asked for often. */
  answered(): void {}
}

/** The dispatches of one tick travel as one request, in which each is answered for itself. */
export class ItemSender {
  readonly #calls: Calls
  readonly #watch: (ids: readonly string[]) => void
  readonly #gathering: Gathering<Asked>

  constructor(calls: Calls, watch: (ids: readonly string[]) => void) {
    this.#calls = calls
    this.#watch = watch
    this.#gathering = new Gathering<Asked>((drafts) => this.#verdicts(drafts), {
      same: (first, second) => first.options === second.options && sameAsk(first, second),
    })
  }

  /** The drafts are those of an ItemDrafter. */
  admit(draft: Draft): Promise<Verdict> {
    return this.#gathering.admit(draft as Asked)
  }

  /** Admits none when the server refuses one. Drafts for several requests are checked by a first round of requests. */
  async admitMany(drafts: readonly Asked[]): Promise<Answer[]> {
    if (parted(drafts, MAX_BATCH).length > 1) await this.#send(drafts, { check: true })
    return this.#send(drafts)
  }

  async #verdicts(drafts: readonly Asked[]): Promise<Promise<Verdict>[]> {
    return (await this.#send(drafts, { independent: true })).map(verdictOf)
  }

  /** Sends one request after another, because a draft sees those before it. */
  async #send(drafts: readonly Asked[], how: { independent?: true; check?: true } = {}): Promise<Answer[]> {
    const answers: Answer[] = []
    let before = 0
    for (const part of parted(drafts, MAX_BATCH)) {
      const body = bodyOf(part, how)
      const reply = await this.#calls
        .post<{ answers: Answer[] }>('/dispatches', body)
        .catch((error: unknown) => Promise.reject(placed(error, before)))
      answers.push(...reply.answers)
      before += part.length
    }
    this.#watch(
      answers.flatMap((answer, index) =>
        drafts[index]?.watch && 'run' in answer && !isEnded(answer.run.status) ? answer.run.id : [],
      ),
    )
    return answers
  }
}

function bodyOf(drafts: readonly Asked[], how: { independent?: true; check?: true }): string {
  const flags = Object.keys(how).map((flag) => `,"${flag}":true`)
  return `{"items":[${drafts.map(itemText).join(',')}]${flags.join('')}}`
}

/** Names a refused item by its place among all, of which `before` lie in earlier requests. */
function placed(error: unknown, before: number): unknown {
  if (!isDeferqError(error) || typeof error.details?.index !== 'number') return error
  const { index, ...details } = error.details
  return new DeferqError(error.code, `dispatchMany()[${before + Number(index)}]: ${error.message}`, {
    cause: error.cause,
    ...(Object.keys(details).length === 0 ? {} : { details }),
  })
}

/** The server makes the requests of callbacks by URL. */
function withoutWebhooks(options: DispatchOptions | undefined): DispatchOptions | undefined {
  if (options?.callback === undefined) return options
  const { callback, ...rest } = options
  const others = ([callback].flat() as Callback[]).filter((each) => !isWebhook(each))
  return others.length === 0 ? rest : { ...rest, callback: others }
}
