// What becomes of a dispatch: it is answered from nearby, or drafted, admitted, and what came of it is noted.

import { environment } from '../base/environment.ts'
import type { Draft, Verdict } from '../contract/engine.ts'
import type { DispatchOptions } from '../tasks/options.ts'
import { keyOf } from '../values/fingerprint.ts'
import type { Callbacks } from './callbacks.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { Drafter } from './draft.ts'
import { abortedDispatch, rejected, runWithinTx, unlessAborted } from './errors.ts'
import type { NearCache } from './near-cache.ts'

export interface PipelineNeeds {
  drafter: Pick<Drafter, 'draft' | 'answered'>
  dispatcher: Pick<Dispatcher, 'admit'>
  near: NearCache | undefined
  callbacks: Callbacks
}

export class Pipeline {
  readonly #drafter: PipelineNeeds['drafter']
  readonly #dispatcher: PipelineNeeds['dispatcher']
  readonly #near: NearCache | undefined
  readonly #callbacks: Callbacks

  constructor({ drafter, dispatcher, near, callbacks }: PipelineNeeds) {
    this.#drafter = drafter
    this.#dispatcher = dispatcher
    this.#near = near
    this.#callbacks = callbacks
  }

  /** No layer of promises more than it needs: each costs a dispatch 0.3 µs. What it throws becomes its callers' rejection. */
  dispatch<Reply>(
    name: string,
    params: unknown,
    options: DispatchOptions | undefined,
    toReply: (verdict: Verdict) => Reply,
    watch = false,
    nearKey = options === undefined ? this.#near?.nearKey(params) : undefined,
  ): Promise<Reply> {
    if (options?.signal?.aborted) throw abortedDispatch(name, options.signal)
    if (watch && options?.tx !== undefined) throw runWithinTx(name)
    const found = nearKey === undefined ? undefined : this.#near?.find(name, nearKey)
    if (found !== undefined)
      return Promise.resolve(toReply({ outcome: 'hit', entry: found, sameParams: true }))
    const drafted = this.#drafter.draft(name, params, options, watch || this.#callbacks.wanted(options))
    const admitted =
      drafted instanceof Promise
        ? drafted.then((draft) => this.admit(draft, options, toReply, nearKey))
        : this.admit(drafted, options, toReply, nearKey)
    return unlessAborted(admitted, name, options?.signal)
  }

  admit<Reply>(
    draft: Draft,
    options: DispatchOptions | undefined,
    toReply: (verdict: Verdict) => Reply,
    nearKey?: string,
  ): Promise<Reply> {
    const near = this.#near
    const sentAt = near === undefined ? 0 : environment.monotonic()
    const epoch = near?.epoch as number
    return this.#dispatcher.admit(draft, options?.tx).then((verdict) => {
      if (verdict.outcome === 'rejected') throw rejected(draft, verdict)
      if (options?.callback !== undefined) this.#callbacks.attach(options.callback, verdict.entry)
      if (options === undefined && !draft.refresh && isAnswered(verdict)) this.#drafter.answered(draft)
      if (nearKey !== undefined) near?.keep(draft.name, nearKey, verdict, sentAt, epoch)
      // What is asked for anew shall not be answered with what was known before.
      else if (draft.refresh) near?.forget({ keys: [keyOf(draft.id)] })
      return toReply(verdict)
    })
  }
}

const isAnswered = ({ outcome }: Verdict): boolean => outcome === 'hit' || outcome === 'stale'
