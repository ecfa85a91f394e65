// Admits the messages of a bridge into its deferq: waits while the store is away, and judges each refusal.
import { isDeferqError } from '../base/errors.ts'
import { sleep } from '../base/time.ts'
import type { Dispatching } from '../dispatch/api.ts'
import type { Dispatched } from '../tasks/task.ts'
import type { Admission, Case, Ending } from './classify.ts'
import { messageOf, nameOfError } from './classify.ts'

/** The first pause before another try, and the longest. */
export const PAUSE_MS = { first: 100, most: 5_000 }

// With these codes another try may succeed: the store or the broker is away or full.
const AWAY = new Set(['STORE_UNAVAILABLE', 'STORE_FULL'])
// With these codes the message itself is at fault.
const FAULTS_OF_MESSAGES = new Set([
  'INVALID_PARAMS',
  'INVALID_OPTION',
  'UNHASHABLE_PARAMS',
  'PARAMS_TOO_LARGE',
  'SCOPE_REQUIRED',
])

export const isAway = (error: unknown): boolean => isDeferqError(error) && AWAY.has(error.code)

export interface AdmissionsNeeds {
  /** Aborted when the bridge stops: a message that still waits for the store is then released. */
  signal: AbortSignal
  /** True if the bridge makes params by a function of its user. */
  hasParams: boolean
  trouble: (error: unknown, message: string) => void
  /** The deferq was closed under the bridge. */
  closed: () => void
}

export class Admissions {
  readonly #needs: AdmissionsNeeds
  #refused = 0

  constructor(needs: AdmissionsNeeds) {
    this.#needs = needs
  }

  /** The number of messages that wait for the store. While it is above 0, the bridge reserves no more. */
  get refused(): number {
    return this.#refused
  }

  /** Dispatches the task of a message. The answer `ack` means that the run is stored: only then may the message go. */
  async admit(deferq: Dispatching, each: Case, { name, params, options }: Admission): Promise<Ending> {
    const { signal, hasParams, trouble } = this.#needs
    const { deliveries } = each.delivery
    let refused = false
    try {
      for (let pauseMs = PAUSE_MS.first; ; pauseMs = Math.min(PAUSE_MS.most, pauseMs * 2)) {
        try {
          let run: Dispatched = await deferq.dispatch(name, params, options)
          // A failed message runs again if it says that it was redriven, or if this is its first delivery. The count alone
          // proves nothing: a broker also raises it when a wait ends just as the message arrives.
          if (run.outcome === 'negative' && (each.redriven || deliveries === 0))
            run = await deferq.dispatch(name, params, { ...options, refresh: true })
          if (!run.sameParams && deliveries === 0 && !hasParams)
            return each.aside('poison', 'A message with the same meta.id and other data came before it.')
          return { kind: 'ack', taskId: run.taskId }
        } catch (error) {
          if (!isAway(error)) return this.#refusal(each, error)
          if (!refused) this.#refused++
          refused = true
          trouble(error, 'the store refuses messages; it is tried again')
          if (signal.aborted) return { kind: 'release', error: messageOf(error), delayMs: 0 }
          await sleep(pauseMs, signal)
        }
      }
    } finally {
      if (refused) this.#refused--
    }
  }

  #refusal(each: Case, error: unknown): Ending {
    const message = messageOf(error)
    if (isDeferqError(error, 'CLOSED')) {
      this.#needs.closed()
      return { kind: 'release', error: message, delayMs: 0 }
    }
    if (!isDeferqError(error) || !FAULTS_OF_MESSAGES.has(error.code))
      return each.failed('failed', message, nameOfError(error))
    return each.aside(
      error.code === 'INVALID_PARAMS' ? 'failed' : 'poison',
      `${error.code}: ${message}`,
      error.name,
    )
  }
}
