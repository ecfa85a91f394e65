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
  ask<Told>(
    name: string,
    params: unknown,
    options: DispatchOptions | undefined,
    tell: (verdict: Verdict) => Told,
    watch = false,
    spot = options === undefined ? this.#near?.spot(params) : undefined,
  ): Promise<Told> {
    if (options?.signal?.aborted) throw abortedDispatch(name, options.signal)
    if (watch && options?.tx !== undefined) throw runWithinTx(name)
    const found = spot === undefined ? undefined : this.#near?.find(name, spot)
    if (found !== undefined) return Promise.resolve(tell({ outcome: 'hit', entry: found, sameParams: true }))
    const drafted = this.#drafter.draft(name, params, options, watch || this.#callbacks.wanted(options))
    const admitted =
      drafted instanceof Promise
        ? drafted.then((draft) => this.admit(draft, options, tell, spot))
        : this.admit(drafted, options, tell, spot)
    return unlessAborted(admitted, name, options?.signal)
  }

  admit<Told>(
    draft: Draft,
    options: DispatchOptions | undefined,
    tell: (verdict: Verdict) => Told,
    spot?: string,
  ): Promise<Told> {
    const near = this.#near
    const sentAt = near === undefined ? 0 : environment.monotonic()
    const epoch = near?.epoch as number
    return this.#dispatcher.admit(draft, options?.tx).then((verdict) => {
      if (verdict.outcome === 'rejected') throw rejected(draft, verdict)
      if (options?.callback !== undefined) this.#callbacks.attach(options.callback, verdict.entry)
      if (options === undefined && !draft.refresh && isAnswered(verdict)) this.#drafter.answered(draft)
      if (spot !== undefined) near?.keep(draft.name, spot, verdict, sentAt, epoch)
      // What is asked for anew shall not be answered with what was known before.
      else if (draft.refresh) near?.forget({ keys: [keyOf(draft.id)] })
      return tell(verdict)
    })
  }
}

const isAnswered = ({ outcome }: Verdict): boolean => outcome === 'hit' || outcome === 'stale'
