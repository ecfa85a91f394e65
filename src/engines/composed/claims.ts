// Taking work: messages are reserved, the runs they name are claimed under lock, and the messages are acknowledged at once.
import { environment } from '../../base/environment.ts'
import { DeferqError } from '../../base/errors.ts'
import type { Claims, Want } from '../../contract/engine.ts'
import { KEY_LENGTH, nameOfWant } from '../../contract/engine.ts'
import type { Delivery, Release } from '../../contract/transport.ts'
import type { Found } from './decisions.ts'
import { entryOf } from './document-store.ts'
import { PAUSED } from './documents.ts'
import type { Handled } from './group-fairness.ts'
import { INTAKE, lineUp, serve } from './group-fairness.ts'
import type { Hearing } from './hub.ts'
import type { Kind } from './lanes.ts'
import type { Ready } from './messages.ts'
import { delayOf, readReady, timerMessages, VISIBILITY_MS } from './messages.ts'
import type { Parts, Transactions } from './transactions.ts'
import { HOLD_MS } from './transactions.ts'
import { Watch } from './watch.ts'

// A whole group waits for its turn to come back from a worker that died; one that comes back too soon is harmless.
const TURN_VISIBILITY_MS = 20_000
// A worker that is never idle learns of new lanes at this pace; an idle one at each look.
const LANES_MS = 1_000
const MOST_ROUNDS = 10
// Each brings the documents of a group and of a run under lock.
const MOST_TURNS = 100

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
    if (want.limit > 0) return this.#take(want, kept)
    this.#watches.delete(nameOfWant(want))
    this.#giveBack(kept)
    return { claimed: [] }
  }

  async #take(want: Want, kept: readonly Delivery[]): Promise<Claims> {
    const { lanes } = this.#parts
    const claims: Claims = { claimed: [] }
    this.#giveBack(kept.filter(({ queue }) => lanes.laneOf(queue) === undefined))
    const known = kept.filter(({ queue }) => lanes.laneOf(queue) !== undefined)
    const lined = known.filter((each) => this.#isLined(each))
    const others = known.filter((each) => !this.#isLined(each))
    const takes = [
      () => this.#takeTurns(want, lined.splice(0), claims),
      () => this.#takeReady(want, others.splice(0), claims),
    ]
    // Neither the runs of groups nor the others may starve behind what there is of the other kind.
    if (environment.random() < 0.5) takes.reverse()
    try {
      await lanes.refresh(LANES_MS)
      do {
        for (const take of takes) await take()
      } while (claims.claimed.length === 0 && (await lanes.refresh(0)))
    } catch (error) {
      this.#giveBack([...lined, ...others])
      // What was claimed has to reach the caller.
      if (claims.claimed.length === 0) throw error
    }
    claims.claimed.sort(({ entry: a }, { entry: b }) => b.priority - a.priority || a.dueAt - b.dueAt)
    const nextDueMs = this.#transactions.nextDueMs()
    if (nextDueMs !== undefined) claims.nextDueMs = nextDueMs
    if (claims.claimed.length < want.limit && this.#listened() && !this.#closed) this.#wait(want)
    return claims
  }

  /** A message may name what is no more to be done: there may be more behind it. */
  async #takeReady(want: Want, kept: Delivery[], claims: Claims): Promise<void> {
    let hands = kept
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const asked = want.limit - claims.claimed.length - hands.length
      try {
        if (asked > 0) hands = [...hands, ...(await this.#ask(want, ['front', 'ready'], asked))]
      } catch (error) {
        this.#giveBack(hands)
        throw error
      }
      if (hands.length === 0) return
      const before = claims.claimed.length
      const most = asked <= 0 || hands.length >= want.limit - before
      await this.#decide(want, hands, claims)
      hands = []
      if (claims.claimed.length >= want.limit || (!most && claims.claimed.length > 0)) return
    }
  }

  /** What has arrived is lined up first, so that the turns are those of all who wait. */
  async #takeTurns(want: Want, kept: readonly Delivery[], claims: Claims): Promise<void> {
    const { lanes } = this.#parts
    const ofKind = (kind: Kind): Delivery[] => kept.filter((each) => lanes.laneOf(each.queue)?.kind === kind)
    let [arrived, turns] = [ofKind('intake'), ofKind('turns')]
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const left = want.limit - claims.claimed.length
      try {
        arrived = [...arrived, ...(await this.#ask(want, ['intake'], INTAKE))]
        if (arrived.length > 0) await this.#handle(arrived, lineUp(this.#parts, this.#transactions, arrived))
        const most = arrived.length >= INTAKE
        arrived = []
        if (left <= 0) return this.#giveBack(turns.splice(0))
        if (turns.length < left)
          turns = [...turns, ...(await this.#ask(want, ['turns'], Math.min(left - turns.length, MOST_TURNS)))]
        if (turns.length === 0 && !most) return
      } catch (error) {
        this.#giveBack(turns)
        throw error
      }
      const before = claims.claimed.length
      if (turns.length > 0)
        await this.#handle(turns, serve(this.#parts, this.#transactions, want, turns, claims))
      turns = []
      for (const { entry } of claims.claimed.slice(before)) this.#parts.hub.claimed(entry.id, this.#self)
      if (claims.claimed.length >= want.limit) return
    }
  }

  async #handle(deliveries: readonly Delivery[], handling: Promise<Handled>): Promise<void> {
    let handled: Handled
    try {
      handled = await handling
    } catch (error) {
      this.#giveBack(deliveries)
      throw error
    }
    const { done, back, strange } = handled
    if (strange > 0) this.#strange(strange)
    if (done.length > 0) this.#answer(this.#parts.queue.ack(done))
    if (back.length === 0) return
    this.#giveBack(back)
    // Their lanes may have been paused a moment ago.
    await this.#parts.lanes.refresh(0)
  }

  #isLined({ queue }: Delivery): boolean {
    const kind = this.#parts.lanes.laneOf(queue)?.kind
    return kind === 'intake' || kind === 'turns'
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

  async #ask(want: Want, kinds: readonly Kind[], limit: number): Promise<Delivery[]> {
    const { lanes, queue } = this.#parts
    const queues = lanes.wanted(want, kinds)
    if (queues.length === 0) return []
    const visibilityMs = kinds.includes('turns') ? TURN_VISIBILITY_MS : VISIBILITY_MS
    return queue.reserve({ queues, limit, visibilityMs })
  }

  async #decide(want: Want, deliveries: readonly Delivery[], claims: Claims): Promise<void> {
    const { queue, timersQueue, hub, now } = this.#parts
    const looked: Looked[] = []
    const later: Release[] = []
    const done: Delivery[] = []
    for (const delivery of deliveries) {
      const ready = readReady(delivery)
      if (ready === undefined) done.push(delivery)
      // A run of a group begins by its gate alone: its lane is not known just now.
      else if (ready.place !== undefined) later.push({ delivery })
      else looked.push({ delivery, ready })
    }
    if (done.length > 0) this.#strange(done.length)
    if (looked.length === 0) {
      this.#answer(queue.ack(done))
      this.#answer(queue.release(later))
      return
    }
    let paused = false
    try {
      const prefix = environment.randomBytes(9).toString('base64url')
      const leases = looked.map(({ ready: { id } }, index) => ({
        id,
        token: `${prefix}.${index}`,
        delayMs: want.leaseMs,
      }))
      // While the locks are had: the timer of a claim that comes to nothing finds nothing to do.
      const first = queue.publish(timerMessages(leases, timersQueue, now()))
      first.catch(() => {})
      const keys = [PAUSED, ...looked.map(({ ready }) => ready.id.slice(0, KEY_LENGTH))]
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
        } else if (what === 'paused') {
          later.push({ delivery })
          paused = true
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
      this.#giveBack([...looked, ...later].map(({ delivery }) => delivery).concat(done))
      throw error
    }
    // Claimed is claimed: an acknowledgement that is lost brings a message that says nothing any more.
    if (done.length > 0) this.#answer(queue.ack(done))
    if (later.length > 0) this.#answer(queue.release(later))
    if (paused) await this.#parts.lanes.refresh(0)
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
