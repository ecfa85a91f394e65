// composed(): an engine of parts that are each chosen, and replaced, on their own.

import { environment } from '../../base/environment.ts'
import { DeferqError } from '../../base/errors.ts'
import type { Engine } from '../../contract/engine.ts'
import type { Transport } from '../../contract/transport.ts'
import type { KeyvLike } from '../../drivers/keyv.ts'
import { Keyed } from '../../drivers/keyv.ts'
import { Offload } from '../../drivers/offload.ts'
import { ComposedEngine } from './engine.ts'
import type { Lock } from './lock.ts'
import { HERE } from './lock.ts'

export interface ComposedOptions {
  /** Where runs stand: a Keyv. deferq closes it, as it does the other parts, when the last engine that uses it is closed. */
  tasks: KeyvLike
  /** Where results lie, if not with the tasks: another Keyv. */
  results?: KeyvLike
  /** What carries the work to the workers. */
  queue: Transport
  /** `redlockLock([new Redis(url)])` where several processes share the stores (a lock within this process). */
  lock?: Lock
  /** Keeps several deferqs apart in the same stores ('deferq'). */
  prefix?: string
  /** The clock (Date.now); tests move it. */
  now?: () => number
}

// Short results lie with their run, where one read finds both.
const SHORT = 4_096

export function composed(options: ComposedOptions): Engine {
  const { tasks, results = tasks, queue, lock = HERE, prefix = 'deferq', now = environment.now } = options
  if (typeof queue?.publish !== 'function') {
    throw new DeferqError(
      'INVALID_OPTION',
      'composed(): queue must be a transport, such as new RabbitmqTransport({ url }).',
    )
  }
  if (typeof lock?.acquire !== 'function')
    throw new DeferqError(
      'INVALID_OPTION',
      'composed(): lock must be a lock, such as redlockLock([new Redis(url)]).',
    )
  if (typeof prefix !== 'string' || !/^[\w-]{1,40}$/.test(prefix)) {
    throw new DeferqError(
      'INVALID_OPTION',
      'composed(): prefix must be 1 to 40 letters, digits, dashes or underscores.',
    )
  }
  const engine = new ComposedEngine({
    tasks: new Keyed(tasks, 'composed(): tasks'),
    lock,
    queue,
    prefix,
    now,
  })
  return new Offload(engine, {
    store: results,
    above: results === tasks ? SHORT : 0,
    prefix,
  })
}

export type { Transport } from '../../contract/transport.ts'
export type { Held, Lock } from './lock.ts'
export { memoryLock } from './lock.ts'
export type { RedlockClient } from './redlock.ts'
export { redlockLock } from './redlock.ts'
