// The attempts that a worker holds: those that run, and those that have ended and wait for their settlement.
import { UnorderedSet } from '../base/unordered-set.ts'
import type { Attempt } from './attempt.ts'

export class ActiveAttempts extends UnorderedSet<Attempt> {
  /** Interrupts those that have taken too long; answers when the next will have. */
  interruptLate(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const attempt of this.all()) {
      if (attempt.lateAt <= now) attempt.interrupt('timeout')
      else next = Math.min(next, attempt.lateAt)
    }
    return next
  }
}
