// Takes messages for whoever asks: what is there now, else the first that comes, and over lost connections too.
import { environment } from '../../base/environment.ts'
import { isDeferqError } from '../../base/errors.ts'
import type { Delivery, Reservation } from '../../contract/transport.ts'
import { codeOf, isRefusal, judge, NOT_FOUND } from './faults.ts'
import type { Holdings } from './holdings.ts'
import type { Link } from './link.ts'
import type { Queues } from './queues.ts'
import type { Subscription } from './session.ts'
import { Session } from './session.ts'

interface Taking {
  session: Session
  subscription: Subscription
}

export class Consumer {
  readonly #link: Link
  readonly #queues: Queues
  readonly #holdings: Holdings
  readonly #timeoutMs: number
  readonly #trouble: (error: unknown) => void
  readonly #sessions = new Map<string, Promise<Session>>()

  constructor(
    link: Link,
    queues: Queues,
    holdings: Holdings,
    timeoutMs: number,
    trouble: (error: unknown) => void,
  ) {
    this.#link = link
    this.#queues = queues
    this.#holdings = holdings
    this.#timeoutMs = timeoutMs
    this.#trouble = trouble
  }

  async reserve(want: Reservation, stop: AbortSignal): Promise<Delivery[]> {
    const { limit, visibilityMs, waitMs = 0 } = want
    const queues = [...new Set(want.queues)]
    const end = environment.monotonic() + waitMs
    const found: Delivery[] = []
    for (let misses = 0; ; ) {
      const waits = environment.monotonic() < end && !stop.aborted
      try {
        // One subscription after the other, so that together they never hold more than asked for.
        for (const queue of queues) {
          const room = limit - found.length
          if (room === 0) break
          const until = waits && queues.length === 1 ? end : 0
          await this.#take([queue], room, until, stop, visibilityMs, found)
        }
        if (found.length > 0 || !waits) return found
        if (queues.length > 1) {
          const share = Math.max(1, Math.floor(limit / queues.length))
          await this.#take(queues, share, end, stop, visibilityMs, found, limit)
        }
        if (found.length > 0 || environment.monotonic() >= end || stop.aborted) return found
      } catch (error) {
        if (found.length > 0) return found
        const gone = codeOf(error) === NOT_FOUND
        if (isDeferqError(error) || (isRefusal(error) && !gone)) throw judge(error, this.#link.where)
        // A queue that was deleted, or a connection that went: both are made again, within a bound.
        if (gone) for (const queue of queues) this.#queues.forget(queue)
        if (++misses > 2 || stop.aborted) throw judge(error, this.#link.where)
      }
    }
  }

  /** The queue's first messages, put back: a look. */
  async peek(queue: string, limit: number): Promise<Delivery[]> {
    const deadline = this.#deadline()
    const session = await Session.open(queue, this.#link, deadline, () => undefined)
    try {
      const subscription = await session.subscribe(limit, deadline)
      await session.unsubscribe(subscription, deadline)
      return subscription.messages.map((message) => this.#holdings.take(session, message, this.#timeoutMs))
    } finally {
      this.#holdings.forget(session)
      await session.close()
    }
  }

  /** Adds what each of the queues has now, at most `share` of each; waits until `until` where none has anything. */
  async #take(
    queues: readonly string[],
    share: number,
    until: number,
    stop: AbortSignal,
    visibilityMs: number,
    found: Delivery[],
    limit = found.length + share,
  ): Promise<void> {
    const takings: Taking[] = []
    try {
      for (const queue of queues) {
        const session = await this.#session(queue)
        takings.push({ session, subscription: await session.subscribe(share, this.#deadline()) })
      }
      if (until > 0) {
        await firstOf(
          takings.map(({ subscription }) => subscription.first),
          until,
          stop,
        )
      }
    } finally {
      await Promise.all(
        takings.map(({ session, subscription }) =>
          // What came before a failure is handed out all the same; without its channel it is lost by itself.
          session.unsubscribe(subscription, this.#deadline()).catch(() => undefined),
        ),
      )
      for (const { session, subscription } of takings) {
        for (const message of subscription.messages) {
          if (!session.alive) continue
          if (found.length < limit) found.push(this.#holdings.take(session, message, visibilityMs))
          else session.giveBack(message.fields.deliveryTag)
        }
      }
    }
  }

  #session(queue: string): Promise<Session> {
    let session = this.#sessions.get(queue)
    if (session === undefined) {
      session = this.#open(queue)
      this.#sessions.set(queue, session)
      session.catch(() => this.#sessions.delete(queue))
    }
    return session
  }

  async #open(queue: string): Promise<Session> {
    const deadline = this.#deadline()
    if (!this.#queues.knows(queue)) await this.#queues.declare(queue, this.#link, deadline)
    return Session.open(queue, this.#link, deadline, (session, error) => {
      this.#sessions.delete(queue)
      this.#holdings.forget(session)
      if (error !== undefined && codeOf(error) !== NOT_FOUND) this.#trouble(error)
    })
  }

  #deadline(): number {
    return environment.monotonic() + this.#timeoutMs
  }
}

function firstOf(messages: readonly Promise<void>[], until: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      environment.clearTimeout(timer)
      stop.removeEventListener('abort', end)
      resolve()
    }
    const timer = environment.setTimeout(end, Math.max(0, until - environment.monotonic()))
    stop.addEventListener('abort', end)
    for (const message of messages) void message.then(end)
    if (stop.aborted) end()
  })
}
