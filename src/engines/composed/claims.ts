// Taking work: messages are reserved, the runs they name are claimed under lock, and the messages are acknowledged at once.
import { randomBytes } from 'node:crypto'
import type { Claims, Want } from '../../engine.ts'
import { KEY_LENGTH, nameOfWant } from '../../engine.ts'
import { DeferqError } from '../../errors.ts'
import type { Delivery, Release } from '../../transports/transport.ts'
import { entryOf } from './documents.ts'
import type { Hearing } from './hub.ts'
import type { Ready } from './messages.ts'
import { delayOf, readReady, timerMessages } from './messages.ts'
import type { Found } from './step.ts'
import type { Parts, Transactions } from './transactions.ts'
import { HOLD_MS } from './transactions.ts'
import { Watch } from './watch.ts'

// Only for as long as a claim takes: what runs is in the care of its lease, not of the broker.
export const VISIBILITY_MS = 60_000
// A worker that is never idle learns of new lanes at this pace; an idle one at each look.
const LANES_MS = 1_000
const MOST_ROUNDS = 10

interface Looked {
  delivery: Delivery
  ready: Ready
}

export class Taking {
  readonly #parts: Parts
  readonly #transactions: Transactions
  readonly #self: Hearing
  readonly #listened: () => boolean
  /** By what is wanted: several workers may share an engine. */
  readonly #watches = new Map<string, Watch>()
  readonly #answering = new Set<Promise<unknown>>()
  #closed = false

  constructor(parts: Parts, transactions: Transactions, self: Hearing, listened: () => boolean) {
    this.#parts = parts
    this.#transactions = transactions
    this.#self = self
    this.#listened = listened
  }

  async claim(want: Want): Promise<Claims> {
    const kept = (await this.#watches.get(nameOfWant(want))?.stop()) ?? []
    if (want.limit > 0) return this.#take(want, await this.#reserve(want, kept))
    this.#watches.delete(nameOfWant(want))
    this.#giveBack(kept)
    return { claimed: [] }
  }

  async #reserve(want: Want, kept: Delivery[]): Promise<Delivery[]> {
    const { lanes } = this.#parts
    if (kept.length >= want.limit) return kept
    try {
      await lanes.refresh(LANES_MS)
      const found = await this.#ask(want, want.limit - kept.length)
      if (kept.length + found.length > 0 || !(await lanes.refresh(0))) return [...kept, ...found]
      return await this.#ask(want, want.limit)
    } catch (error) {
      this.#giveBack(kept)
      throw error
    }
  }

  async #take(want: Want, reserved: Delivery[]): Promise<Claims> {
    const claims: Claims = { claimed: [] }
    let asked = want.limit
    let deliveries = reserved
    // A message may name what is no more to be done: there may be more behind it.
    for (let round = 0; round < MOST_ROUNDS && deliveries.length > 0; round++) {
      if (!(await this.#decided(want, deliveries, claims))) break
      const left = want.limit - claims.claimed.length
      if (left === 0 || (deliveries.length < asked && claims.claimed.length > 0)) break
      asked = left
      deliveries = await this.#ask(want, left).catch((error) => {
        if (claims.claimed.length === 0) throw error
        return []
      })
    }
    claims.claimed.sort(({ entry: a }, { entry: b }) => b.priority - a.priority || a.dueAt - b.dueAt)
    const nextDueMs = this.#transactions.nextDueMs()
    if (nextDueMs !== undefined) claims.nextDueMs = nextDueMs
    if (claims.claimed.length < want.limit && this.#listened() && !this.#closed) this.#wait(want)
    return claims
  }

  /** Best effort: a broker hands out again what nobody acknowledges. */
  #giveBack(deliveries: readonly Delivery[]): void {
    if (deliveries.length > 0)
      this.#answer(this.#parts.queue.release(deliveries.map((delivery) => ({ delivery }))))
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const watch of this.#watches.values()) this.#giveBack(await watch.stop())
    await Promise.all(this.#answering)
  }

  #wait(want: Want): void {
    const name = nameOfWant(want)
    const watch = this.#watches.get(name) ?? new Watch(this.#parts, want)
    this.#watches.set(name, watch)
    watch.start()
  }

  async #ask(want: Want, limit: number): Promise<Delivery[]> {
    const { lanes, queue } = this.#parts
    const queues = lanes.wanted(want)
    if (queues.length === 0) return []
    return queue.reserve({ queues, limit, visibilityMs: VISIBILITY_MS })
  }

  /** False when it failed after others were claimed, which have to reach the caller. */
  async #decided(want: Want, deliveries: readonly Delivery[], claims: Claims): Promise<boolean> {
    try {
      await this.#decide(want, deliveries, claims)
      return true
    } catch (error) {
      if (claims.claimed.length === 0) throw error
      return false
    }
  }

  async #decide(want: Want, deliveries: readonly Delivery[], claims: Claims): Promise<void> {
    const { queue, timersQueue, hub, now } = this.#parts
    const looked: Looked[] = []
    const done: Delivery[] = []
    for (const delivery of deliveries) {
      const ready = readReady(delivery)
      if (ready === undefined) done.push(delivery)
      else looked.push({ delivery, ready })
    }
    if (done.length > 0) this.#strange(done.length)
    if (looked.length === 0) return this.#answer(queue.ack(done))
    const later: Release[] = []
    try {
      const prefix = randomBytes(9).toString('base64url')
      const leases = looked.map(({ ready: { id } }, index) => ({
        id,
        token: `${prefix}.${index}`,
        delayMs: want.leaseMs,
      }))
      // While the locks are had: the timer of a claim that comes to nothing finds nothing to do.
      const first = queue.publish(timerMessages(leases, timersQueue, now()))
      first.catch(() => {})
      const keys = looked.map(({ ready }) => ready.id.slice(0, KEY_LENGTH))
      const { found, malformed } = await this.#transactions.run({ of: keys, first }, (step) => ({
        found: looked.map(
          ({ ready: { id, ticket } }, index): Found =>
            step.claim(id, ticket, `${prefix}.${index}`, want.leaseMs),
        ),
        malformed: step.table.malformed,
      }))
      for (const [index, { delivery, ready }] of looked.entries()) {
        const what = found[index] as Found
        if (typeof what === 'object' && 'laterMs' in what) {
          later.push({ delivery, delayMs: delayOf(what.laterMs) })
          this.#transactions.dueIn(what.laterMs)
        } else if (what === 'absent' && !broken(malformed, ready.id) && now() < ready.sentAt + HOLD_MS) {
          // Whoever sent it may still be writing, though its lock ran out.
          later.push({ delivery, delayMs: HOLD_MS })
        } else {
          done.push(delivery)
          if (typeof what !== 'object') continue
          hub.claimed(ready.id, this.#self)
          claims.claimed.push({ entry: entryOf(what.run), token: what.run.token as string })
        }
      }
      if (malformed.length > 0) claims.malformed = [...(claims.malformed ?? []), ...malformed]
    } catch (error) {
      this.#giveBack([...looked.map(({ delivery }) => delivery), ...done])
      throw error
    }
    // Claimed is claimed: an acknowledgement that is lost brings a message that says nothing any more.
    if (done.length > 0) this.#answer(queue.ack(done))
    if (later.length > 0) this.#answer(queue.release(later))
  }

  #strange(count: number): void {
    this.#parts.tell({
      kind: 'trouble',
      message: `${count} messages in a queue of deferq are none of its own; they were dropped`,
      error: new DeferqError('MALFORMED_ENTRY', 'Something else writes into the queues of deferq.'),
    })
  }

  #answer(call: Promise<unknown>): void {
    const { tell } = this.#parts
    const answering = call
      .catch((error) =>
        tell({
          kind: 'trouble',
          message: 'messages could not be given back; they will be handed out again',
          error,
        }),
      )
      .finally(() => this.#answering.delete(answering))
    this.#answering.add(answering)
  }
}

const broken = (malformed: readonly { id: string }[], id: string): boolean =>
  malformed.some((each) => each.id.slice(0, KEY_LENGTH) === id.slice(0, KEY_LENGTH))
