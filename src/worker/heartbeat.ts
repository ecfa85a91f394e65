// Keeps the leases of what this worker holds, and finds out what it has lost or what was cancelled.

import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import { sleep } from '../base/time.ts'
import type { Engine, LeaseAnswer } from '../contract/engine.ts'
import { MAX_BATCH } from '../contract/engine.ts'
import type { ActiveAttempts } from './active-attempts.ts'
import type { Attempt } from './attempt.ts'

export interface HeartbeatNeeds {
  engine: Engine
  leaseMs: number
  held: ActiveAttempts
  trouble(error: unknown, message: string): void
}

export class Heartbeat {
  readonly #needs: HeartbeatNeeds

  constructor(needs: HeartbeatNeeds) {
    this.#needs = needs
  }

  /** A third of the lease: two beats may fail before it is lost. */
  async run(signal: AbortSignal): Promise<void> {
    const everyMs = this.#needs.leaseMs / 3
    while (!signal.aborted) {
      await sleep(everyMs, signal)
      if (signal.aborted) return
      const attempts = this.#needs.held.all()
      for (let at = 0; at < attempts.length; at += MAX_BATCH) {
        await this.#beatOnTime(attempts.slice(at, at + MAX_BATCH), everyMs)
      }
      this.#giveUpTheOverdue()
    }
  }

  /** Renews these leases now. */
  async beat(attempts: readonly Attempt[]): Promise<LeaseAnswer[]> {
    const sentAt = environment.monotonic()
    const leases = attempts.map((attempt) => {
      const { id, token, progressText } = attempt
      return progressText === undefined ? { id, token } : { id, token, progress: progressText }
    })
    const answers = await this.#needs.engine.extend(leases, this.#needs.leaseMs)
    for (const [index, answer] of answers.entries()) {
      const attempt = attempts[index] as Attempt
      if (answer !== 'held') {
        attempt.interrupt(answer)
        continue
      }
      attempt.heldAt = sentAt
      if (attempt.progressText === leases[index]?.progress) attempt.progressText = undefined
    }
    return answers
  }

  async beatOne(attempt: Attempt): Promise<void> {
    const [answer] = await this.beat([attempt])
    // One that has timed out keeps its lease until that is settled, and must stop nevertheless.
    const why = attempt.interruption ?? (answer === 'held' ? undefined : answer)
    if (why === undefined) return
    throw new DeferqError(
      'LEASE_LOST',
      `This attempt at '${attempt.name}' is over (${why}): stop working on it.`,
    )
  }

  /** A beat that hangs must not hold up the check for overdue leases. */
  async #beatOnTime(attempts: readonly Attempt[], everyMs: number): Promise<void> {
    const beat = this.beat(attempts).catch((error) =>
      this.#needs.trouble(error, 'a heartbeat failed; it is tried again'),
    )
    const late = new AbortController()
    await Promise.race([beat, sleep(everyMs, late.signal)])
    late.abort()
  }

  /** By now another worker may have it: with the store away, only this process's own clock can tell. */
  #giveUpTheOverdue(): void {
    const now = environment.monotonic()
    for (const attempt of this.#needs.held.all()) {
      if (now - attempt.heldAt > this.#needs.leaseMs) attempt.interrupt('lost')
    }
  }
}
