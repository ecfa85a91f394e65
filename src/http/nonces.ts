// Each id of a signed request is spent once, on whichever instance it arrives first: what is spent lies in the store.

import { hash } from 'node:crypto'
import { Batcher } from '../base/batcher.ts'
import type { Timer } from '../base/environment.ts'
import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Draft, Engine, Verdict } from '../contract/engine.ts'
import { TOLERANCE_MS } from '../signing/signature.ts'

/** Under this name no worker claims anything. */
const NAME = 'deferq.request'
const DAY_MS = 86_400_000
/** Ids are remembered for this much longer than they could be valid: the clocks of stores and servers differ. */
const SLACK_MS = 60_000
const END_AFTER_MS = 250
const END_AT = 500

/**
 * An id becomes a draft whose own id is made from it, and whose due time is drawn at random, years ahead. `admit` creates it
 * once and answers everybody with the stored run: whoever finds his own due time in it was first. One round trip, shared with all
 * that arrive at the same time, and decided by the store alone; a command that is sent again after a reconnect finds itself.
 *
 * The runs are cancelled a moment later, many at a time: what has ended expires by itself when its retention is over, and until then
 * `admit` finds it by its id. Should this process die before that, they are swept as runs that nobody attends.
 */
export class Nonces {
  readonly #engine: () => Promise<Engine>
  readonly #log: Logger
  readonly #admits: Batcher<Draft, Verdict>
  #spent: string[] = []
  #timer: Timer | undefined

  constructor(engine: () => Promise<Engine>, log: Logger) {
    this.#engine = engine
    this.#log = log
    this.#admits = new Batcher(async (drafts) => (await engine()).admit(drafts))
  }

  /** INVALID_SIGNATURE for an id that was spent before. `timestamp`: what was signed with it, in epoch milliseconds. */
  async spend(id: string, timestamp: number): Promise<void> {
    const draft = draftOf(id, timestamp)
    const { entry } = await this.#admits.add(draft)
    if (entry.dueAt !== draft.dueAt) {
      throw new DeferqError(
        'INVALID_SIGNATURE',
        'This request was received before. Sign each one anew, with an id of its own.',
        { details: { reason: 'replayed' } },
      )
    }
    this.#spent.push(draft.id)
    if (this.#spent.length >= END_AT) void this.#end()
    else this.#timer ??= environment.setTimeout(() => void this.#end(), END_AFTER_MS).unref()
  }

  async #end(): Promise<void> {
    environment.clearTimeout(this.#timer)
    this.#timer = undefined
    const spent = this.#spent.splice(0, END_AT)
    if (spent.length === 0) return
    try {
      await (await this.#engine()).cancel(spent)
    } catch (error) {
      // They are swept later.
      this.#log.debug({ error }, 'ids of requests could not be put aside yet')
    }
    if (this.#spent.length > 0)
      this.#timer ??= environment.setTimeout(() => void this.#end(), END_AFTER_MS).unref()
  }
}

function draftOf(id: string, timestamp: number): Draft {
  const key = hash('sha256', `${NAME}\n${id}`, 'hex')
  const retentionMs = Math.max(0, timestamp + TOLERANCE_MS - environment.now()) + SLACK_MS
  return {
    id: key + key.slice(0, 24),
    name: NAME,
    queue: NAME,
    params: '{}',
    priority: 0,
    policy: { maxAttempts: 1, resultTtlMs: 0, staleTtlMs: 0, failureTtlMs: 0, retentionMs },
    delayMs: 0,
    // From a day to thirty-five years ahead.
    dueAt: environment.now() + DAY_MS + Math.floor(environment.random() * 2 ** 40),
    attended: { ms: retentionMs, running: false },
  } as Draft
}
