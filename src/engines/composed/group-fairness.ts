// The runs of groups: taken into the line of their group, and claimed when it is the group's turn and there is room.
//
// A run's message takes the run into the line of its group, in the document of the group's gate, and is acknowledged: from
// then on the line holds it. As long as some wait, one message in the transport says that it is the group's turn; whoever
// takes it claims from the line and sends the next, which goes to the end of its queue: so groups take turns. A group that
// is full has none until an attempt ends; one whose rate is used up has one that is handed out when that allows more.
import { environment } from '../../base/environment.ts'
import type { Claims, Want } from '../../contract/engine.ts'
import { KEY_LENGTH } from '../../contract/engine.ts'
import type { Delivery } from '../../contract/transport.ts'
import type { Step } from './decisions.ts'
import type { Run } from './document-store.ts'
import { entryOf } from './document-store.ts'
import { PAUSED } from './documents.ts'
import type { Gate, Place } from './group-queue.ts'
import type { Lane } from './lanes.ts'
import type { Ready, TurnTaken } from './messages.ts'
import { readReady, readTurn, readyOf } from './messages.ts'
import type { Parts, Transactions } from './transactions.ts'
import { HOLD_MS } from './transactions.ts'

/** Moved into their lines at once, so that a long queue of one group keeps others from their turn for a short time only. */
export const INTAKE = 200
const SOME = 5
/** A full group is looked at this often: a limit may have been raised, or one of those that run have lost its way here. */
const CHECK_MS = 60_000
/** Not a number of any turn: asks to see whether those that run still do. */
const CHECK = 0

interface Turn extends TurnTaken {
  delivery: Delivery
  lane: Lane
}

interface Arrival {
  ready: Ready
  lane: Lane
}

/** What is to be done with the messages. */
export interface Handled {
  done: Delivery[]
  /** Of a lane that is paused, or that is not known just now. */
  back: Delivery[]
  /** None of ours. */
  strange: number
}

/** Takes runs into the lines of their groups. */
export async function lineUp(
  { lanes }: Parts,
  transactions: Transactions,
  deliveries: readonly Delivery[],
): Promise<Handled> {
  const arrivals: Arrival[] = []
  const handled: Handled = { done: [], back: [], strange: 0 }
  for (const delivery of deliveries) {
    const lane = lanes.laneOf(delivery.queue)
    const ready = readReady(delivery)
    if (lane === undefined) {
      handled.back.push(delivery)
      continue
    }
    handled.done.push(delivery)
    if (ready?.place === undefined) handled.strange++
    else arrivals.push({ lane, ready })
  }
  const gates = new Set(arrivals.map(({ ready }) => ready.place?.gate as string))
  if (gates.size > 0) {
    await transactions.run({ of: gates, counted: false }, (step) => {
      for (const { ready, lane } of arrivals) arrive(step, ready, lane)
    })
  }
  return handled
}

function arrive(step: Step, { id, ticket, sentAt, place }: Ready, { queue, name }: Lane): void {
  if (place === undefined) return
  const gate = step.table.gate(place.gate)
  gate.push([id, ticket, sentAt], queue, place.priority, place.front)
  step.offerTurn(gate, queue, name)
}

/** Claims from the lines of the groups whose turn it is, one of each in turn, as far as their limits let them. */
export async function serve(
  parts: Parts,
  transactions: Transactions,
  want: Want,
  deliveries: readonly Delivery[],
  claims: Claims,
): Promise<Handled> {
  const handled: Handled = { done: [], back: [], strange: 0 }
  const turns: Turn[] = []
  for (const delivery of deliveries) {
    const lane = parts.lanes.laneOf(delivery.queue)
    const turn = readTurn(delivery)
    if (lane === undefined) {
      handled.back.push(delivery)
    } else if (turn === undefined) {
      handled.done.push(delivery)
      handled.strange++
    } else {
      turns.push({ ...turn, delivery, lane })
    }
  }
  if (turns.length === 0) return handled
  const left = want.limit - claims.claimed.length
  const prefix = environment.randomBytes(9).toString('base64url')
  const of = [PAUSED, ...(await candidates(transactions, want, turns, Math.ceil(left / turns.length)))]
  const { round, malformed } = await transactions.run({ of }, (step) => ({
    round: new Round(step, want, left, prefix).play(turns),
    malformed: step.table.malformed,
  }))
  for (const { run, token } of round.claimed) claims.claimed.push({ entry: entryOf(run), token })
  if (malformed.length > 0) claims.malformed = [...(claims.malformed ?? []), ...malformed]
  for (const ms of round.laterMs) transactions.dueIn(ms)
  handled.back.push(...round.paused.map(({ delivery }) => delivery))
  handled.done.push(...turns.filter((turn) => !round.paused.includes(turn)).map(({ delivery }) => delivery))
  return handled
}

/** The gates, and what is likely to be claimed; under the locks it may turn out otherwise. */
async function candidates(
  transactions: Transactions,
  want: Want,
  turns: readonly Turn[],
  each: number,
): Promise<string[]> {
  const gates = new Set(turns.map(({ gate }) => gate))
  const { answer } = await transactions.look(gates, (step) =>
    turns.flatMap(({ gate: id, number, lane: { queue, name } }) => {
      const gate = step.table.gate(id)
      const room = gate.room(want.limits?.[name] ?? {}, step.now)
      if (number !== CHECK || room > 0) {
        // Some in line may not want to run any more.
        const count = room > 0 ? Math.max(SOME, Math.min(each, room)) : 0
        return gate.first(queue, count).map(([run]) => run.slice(0, KEY_LENGTH))
      }
      const lost = gate.running.filter((run) => step.table.find(run)?.status !== 'running')
      return lost.map((run) => run.slice(0, KEY_LENGTH))
    }),
  )
  return [...gates, ...new Set(answer)]
}

const intakeOf = (queue: string, name: string): Lane => ({ queue, name, priority: 0, kind: 'intake' })

/** One atomic step over the gates of several groups. */
class Round {
  readonly claimed: { run: Run; token: string }[] = []
  readonly paused: Turn[] = []
  /** When something that was found closed opens. */
  readonly laterMs: number[] = []
  readonly #step: Step
  readonly #want: Want
  readonly #limit: number
  readonly #prefix: string

  constructor(step: Step, want: Want, limit: number, prefix: string) {
    this.#step = step
    this.#want = want
    this.#limit = limit
    this.#prefix = prefix
  }

  play(turns: readonly Turn[]): this {
    const valid = turns.filter((turn) => this.#isValid(turn))
    let active = valid
    while (active.length > 0 && this.claimed.length < this.#limit)
      active = active.filter((turn) => this.claimed.length < this.#limit && this.#claimOne(turn))
    for (const turn of valid) this.#next(turn)
    return this
  }

  #isValid(turn: Turn): boolean {
    const { table } = this.#step
    if (table.paused(turn.lane)) {
      this.paused.push(turn)
      return false
    }
    const gate = this.#gateOf(turn)
    const current = gate.turn(turn.lane.queue)
    if (turn.number !== CHECK) return turn.number === current?.number
    if (current !== undefined) return false
    this.#check(gate, turn.lane)
    return gate.turn(turn.lane.queue) === undefined
  }

  /** False when the group's turn is over: its line is empty, or its gate closed. */
  #claimOne({ gate: id, lane: { queue, name } }: Turn): boolean {
    const { now, table } = this.#step
    const gate = table.gate(id)
    const limit = this.#want.limits?.[name]
    const [place] = gate.first(queue, 1)
    if (place === undefined || gate.opensAt(limit ?? {}, now) > now) return false
    // Others have been here since it was looked at; those who are first now are for the next turn.
    if (!table.has(place[0].slice(0, KEY_LENGTH))) return false
    gate.shift(queue)
    this.#claim(gate, place, queue, name)
    return true
  }

  #claim(gate: Gate, [id, ticket, sentAt]: Place, queue: string, name: string): void {
    const step = this.#step
    const token = `${this.#prefix}.${this.claimed.length}`
    const found = step.claim(id, ticket, token, this.#want.leaseMs)
    if (typeof found === 'object' && 'run' in found) {
      gate.begin(id, this.#want.limits?.[name], step.now)
      step.timers.push({ id, token, delayMs: this.#want.leaseMs })
      this.claimed.push({ run: found.run, token })
    } else if (typeof found === 'object') {
      // Due later, though its message said otherwise: the clocks differ, or it was put off.
      const ready = readyOf(step.table.find(id) as Run, false, step.now)
      step.resent.push({ ready, lane: intakeOf(queue, name), delayMs: found.laterMs })
      this.laterMs.push(found.laterMs)
    } else if (found === 'absent' && step.now < sentAt + HOLD_MS && !this.#isBroken(id)) {
      // Whoever sent it may still be writing, though its lock ran out.
      const place = { gate: gate.id, priority: 0, front: false }
      const ready = { id, ticket, sentAt, place }
      step.resent.push({ ready, lane: intakeOf(queue, name), delayMs: HOLD_MS })
    }
  }

  /** The next turn of this group in this queue; none where nobody waits, and none while it is full. */
  #next({ gate: id, lane: { queue, name } }: Turn): void {
    const { now, table, turns } = this.#step
    const step = this.#step
    const gate = table.gate(id)
    const opensAt = gate.opensAt(this.#want.limits?.[name] ?? {}, now)
    if (gate.first(queue, 1).length === 0) {
      gate.endTurn(queue)
    } else if (opensAt === Number.POSITIVE_INFINITY) {
      gate.endTurn(queue)
      if (gate.checks(now, CHECK_MS)) turns.push({ gate: id, queue, name, number: CHECK, delayMs: CHECK_MS })
    } else {
      // Another may come with a higher limit.
      step.giveTurn(gate, queue, name, Math.min(CHECK_MS, opensAt - now))
      if (opensAt > now) this.laterMs.push(opensAt - now)
    }
  }

  /** What is at hand of those that should run: one that doesn't has left its place behind, in a crash between two writes. */
  #check(gate: Gate, { name }: Lane): void {
    const { table } = this.#step
    gate.checked()
    for (const id of [...gate.running]) {
      if (!table.has(id.slice(0, KEY_LENGTH))) continue
      if (table.find(id)?.status !== 'running') this.#step.makeRoom(id, name, gate)
    }
  }

  #gateOf({ gate }: Turn): Gate {
    return this.#step.table.gate(gate)
  }

  #isBroken(id: string): boolean {
    return this.#step.table.malformed.some((each) => each.id.slice(0, KEY_LENGTH) === id.slice(0, KEY_LENGTH))
  }
}
