// Leases that ran out, and runs that nobody asks for: timers lie in the transport, one for many runs, and are looked at when they go off.
import type { Swept } from '../../contract/engine.ts'
import { KEY_LENGTH } from '../../contract/engine.ts'
import type { Delivery, Release } from '../../contract/transport.ts'
import type { Step } from './decisions.ts'
import type { Leases } from './messages.ts'
import { delayOf, leasesBody, readLeases, VISIBILITY_MS } from './messages.ts'
import type { Parts, Transactions } from './transactions.ts'
import { HOLD_MS } from './transactions.ts'

// A timer holds up to a hundred leases, nearly all of them long settled.
const TIMERS_AT_ONCE = 20
// What was announced and is not written yet is looked at again this soon.
const SOON_MS = 200

interface Sweeping {
  delivery: Delivery
  leases: Leases
  /** What stays in the timer, and for how long. */
  rest: Leases['timers']
  laterMs: number
}

export async function sweep(parts: Parts, transactions: Transactions, limit: number): Promise<Swept> {
  const { queue, timersQueue } = parts
  const swept: Swept = { requeued: [], failed: [], abandoned: [], removed: 0 }
  for (;;) {
    const left = limit - swept.requeued.length - swept.failed.length - swept.abandoned.length
    if (left <= 0) return swept
    const deliveries = await queue.reserve({
      queues: [timersQueue],
      limit: TIMERS_AT_ONCE,
      visibilityMs: VISIBILITY_MS,
    })
    if (deliveries.length === 0) return swept
    const sweeping = deliveries.map(
      (delivery): Sweeping => ({
        delivery,
        leases: readLeases(delivery),
        rest: [],
        laterMs: Number.POSITIVE_INFINITY,
      }),
    )
    try {
      await sweepTimers(parts, transactions, sweeping, left, swept)
    } catch (error) {
      await queue.release(deliveries.map((delivery) => ({ delivery }))).catch(() => {})
      throw error
    }
    const done = sweeping.filter(({ rest }) => rest.length === 0).map(({ delivery }) => delivery)
    const releases = sweeping
      .filter(({ rest }) => rest.length > 0)
      .map(
        ({ delivery, leases: { sentAt }, rest, laterMs }): Release => ({
          delivery,
          body: leasesBody({ sentAt, timers: rest }),
          delayMs: delayOf(laterMs),
        }),
      )
    if (done.length > 0) await queue.ack(done)
    if (releases.length > 0) await queue.release(releases)
  }
}

async function sweepTimers(
  { now, hub }: Parts,
  transactions: Transactions,
  sweeping: readonly Sweeping[],
  limit: number,
  swept: Swept,
): Promise<void> {
  const ids = sweeping.flatMap(({ leases }) => leases.timers.map(({ id }) => id.slice(0, KEY_LENGTH)))
  // Nearly all have ended or were extended, which needs no lock to be seen.
  const { answer: expired } = await transactions.look(ids, (step) => {
    const found: { id: string; token: string; timer: Sweeping }[] = []
    for (const timer of sweeping) {
      timer.rest = []
      timer.laterMs = Number.POSITIVE_INFINITY
      for (const { id, token } of timer.leases.timers) {
        const laterMs = leftOf(step, id, token, timer.leases.sentAt)
        if (laterMs === undefined) continue
        if (laterMs <= 0 && found.length < limit) found.push({ id, token, timer })
        else keep(timer, id, token, Math.max(0, laterMs))
      }
    }
    return found
  })
  if (expired.length === 0) return
  const answers = await transactions.run({ of: expired.map(({ id }) => id.slice(0, KEY_LENGTH)) }, (step) =>
    expired.map(({ id, token }) => step.expire(id, token)),
  )
  for (const [index, { id, token, timer }] of expired.entries()) {
    const answer = answers[index]
    if (typeof answer === 'object') keep(timer, id, token, answer.laterMs)
    else if (answer !== undefined && answer !== 'over') swept[answer].push(id)
    if (answer === 'requeued') hub.settled(id)
  }

  function leftOf(step: Step, id: string, token: string, sentAt: number): number | undefined {
    const run = step.table.find(id)
    const laterMs = step.leftOf(run, token)
    if (laterMs !== undefined || now() >= sentAt + HOLD_MS) return laterMs
    // The timer is sent before what it is for is written; what is not written by now never will be.
    return step.isUnwritten(run, token) ? SOON_MS : undefined
  }
}

function keep(timer: Sweeping, id: string, token: string, laterMs: number): void {
  timer.rest.push({ id, token })
  timer.laterMs = Math.min(timer.laterMs, laterMs)
}
