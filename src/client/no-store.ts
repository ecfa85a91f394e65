// The engine that a DeferQ over HTTP opens: it refuses every verb, because workers and schedules open the store itself.

import { DeferqError } from '../base/errors.ts'
import type { Engine } from '../contract/engine.ts'

const refuse = (what: string) => (): Promise<never> => Promise.reject(elsewhere(what))
/** For verbs that DeferQ itself offers over HTTP. */
const refuseStore = refuse('The store itself')

export const NO_STORE: Engine = {
  name: 'http',
  shards: 1,
  caveats: ['Over HTTP tasks are dispatched, looked at and cancelled; workers open the store itself.'],
  open: async () => {},
  close: async () => {},
  claim: refuse('claim()'),
  settle: refuse('settle()'),
  extend: refuse('extend()'),
  sweep: refuse('sweep()'),
  pause: refuse('pause()'),
  admit: refuseStore,
  read: refuseStore,
  cancel: refuseStore,
  promote: refuseStore,
  invalidate: refuseStore,
  list: refuseStore,
  count: refuseStore,
  listen: () => ({ stop: () => {}, hears: () => false }),
}

export function elsewhere(what: string): DeferqError {
  return new DeferqError(
    'INVALID_OPTION',
    `${what} is not to be had over HTTP: this url dispatches, and workers open the store itself (redis://, postgres://, sqlite:).`,
  )
}
