// The queue of an engine that keeps its runs in this process: ready runs by queue, name and group, delayed runs, waiting workers, counts.

import { PriorityQueue } from '../base/priority-queue.ts'
import type { Counts, Hint, Lanes as Selected, Want } from '../contract/engine.ts'
import { nameOfWant } from '../contract/engine.ts'
import { Groups } from './lane-groups.ts'

/** A connection that hears hints. */
export interface Hearing {
  hear(hint: Hint): void
}

/** The fields of a run that lanes read. */
export interface Queued {
  readonly seq: number
  readonly queue: string
  readonly name: string
  readonly group?: string
  readonly status: string
  readonly priority: number
  readonly dueAt: number
  /** The number of the one valid ticket; claims skip tickets with other numbers. */
  ticket: number
}

/** A place in a lane. It keeps its order when the run's priority or due time changes. */
interface Ticket<Run> {
  run: Run
  number: number
  priority: number
  dueAt: number
}

interface Lane<Run> {
  queue: string
  name: string
  group: string | undefined
  ready: PriorityQueue<Ticket<Run>>
}

/** The first valid ticket of a lane. */
interface Head<Run> {
  lane: Lane<Run>
  ticket: Ticket<Run>
  served: number
}

export class ReadyLanes<Run extends Queued> {
  readonly #lanes = new Map<string, Lane<Run>>()
  readonly #delayed = new PriorityQueue<Ticket<Run>>((a, b) => a.dueAt - b.dueAt)
  readonly #groups = new Groups()
  readonly #paused = new Map<string, Selected>()
  readonly #counts = new Map<string, Counts['lanes'][number]>()
  /** The counter that was changed last. */
  #counted: Counts['lanes'][number] | undefined
  readonly #waiting = new Map<Hearing, Map<string, Want>>()

  /** Gives a pending run a ticket with its present priority and due time; earlier tickets are void. */
  enqueue(run: Run, now: number): void {
    const ticket = { run, number: ++run.ticket, priority: run.priority, dueAt: run.dueAt }
    if (run.dueAt <= now) {
      this.#push(ticket)
      return
    }
    this.#delayed.push(ticket)
    // A sleeping worker was told a later moment: wake it.
    if (this.#delayed.peek() === ticket) this.#wake(run)
  }

  /** Takes the first ready run of the wanted lanes: by priority, then due time, then admission. Among the groups of a name, the group served longest ago comes first. */
  take(want: Want, now: number): Run | undefined {
    let best: Head<Run> | undefined
    let turns: Map<string, Head<Run>> | undefined
    for (const [key, lane] of this.#lanes) {
      if (!this.#isWanted(want, lane)) continue
      const ticket = firstValid(lane.ready)
      if (ticket === undefined) {
        this.#lanes.delete(key)
      } else if (lane.group === undefined) {
        if (best === undefined || inOrder(ticket, best.ticket) < 0) best = { lane, ticket, served: 0 }
      } else if (this.#groups.opensAt(lane.name, lane.group, want.limits?.[lane.name] ?? {}, now) <= now) {
        const head = { lane, ticket, served: this.#groups.served(lane.name, lane.group) }
        turns ??= new Map()
        const rival = turns.get(lane.name)
        if (rival === undefined || inTurn(head, rival) < 0) turns.set(lane.name, head)
      }
    }
    for (const head of turns?.values() ?? []) {
      if (best === undefined || inOrder(head.ticket, best.ticket) < 0) best = head
    }
    if (best === undefined) return undefined
    const { name, group, ready } = best.lane
    if (group !== undefined) this.#groups.begin(name, group, want.limits?.[name], now)
    return ready.pop()?.run
  }

  /** Moves delayed runs that are due to their lanes. Call it before `take`. */
  moveDue(now: number): void {
    for (let ticket = firstValid(this.#delayed); ticket !== undefined; ticket = firstValid(this.#delayed)) {
      if (ticket.dueAt > now) return
      this.#delayed.pop()
      this.#push(ticket)
    }
  }

  /** The next moment at which something becomes due, or a rate lets a ready run begin. */
  nextDue(want: Want, now: number): number | undefined {
    const moments = [firstValid(this.#delayed)?.dueAt ?? Number.POSITIVE_INFINITY]
    for (const lane of want.limits === undefined ? [] : this.#lanes.values()) {
      const limit = want.limits?.[lane.name]
      if (limit === undefined || lane.group === undefined || !this.#isWanted(want, lane)) continue
      const opensAt = this.#groups.opensAt(lane.name, lane.group, limit, now)
      if (opensAt > now && firstValid(lane.ready) !== undefined) moments.push(opensAt)
    }
    const next = Math.min(...moments)
    return Number.isFinite(next) ? next : undefined
  }

  /** An attempt at the run has ended: its group may have room for another. */
  over(run: Run): void {
    const { queue, name, group } = run
    if (group === undefined) return
    this.#groups.over(name, group)
    for (const lane of this.#lanes.values()) {
      if (lane.name === name && lane.group === group && firstValid(lane.ready) !== undefined)
        this.#wake({ queue, name })
    }
  }

  forgetIdle(now: number): void {
    this.#groups.forgetIdle(now)
  }

  pause(lanes: Selected, paused: boolean): void {
    if (paused) {
      this.#paused.set(pauseKey(lanes), lanes)
      return
    }
    this.#paused.delete(pauseKey(lanes))
    for (const lane of this.#lanes.values()) {
      const { queue, name } = lane
      if ('queue' in lanes ? lanes.queue === queue : lanes.name === name) this.#wake({ queue, name })
    }
  }

  paused(): Selected[] {
    return [...this.#paused.values()]
  }

  /** Registers a connection for one `work` hint when a wanted run is ready. A want with limit 0 takes the registration back. */
  wait(hearing: Hearing, want: Want): void {
    const name = nameOfWant(want)
    let wants = this.#waiting.get(hearing)
    if (wants === undefined) this.#waiting.set(hearing, (wants = new Map()))
    if (want.limit === 0) wants.delete(name)
    else wants.set(name, want)
  }

  leave(hearing: Hearing): void {
    this.#waiting.delete(hearing)
  }

  add({ queue, name }: { queue: string; name: string }, pending: number, running: number): void {
    let lane = this.#counted
    // Most runs share the lane of the run before: this saves making a key.
    if (lane === undefined || lane.queue !== queue || lane.name !== name) {
      const key = `${queue}\0${name}`
      lane = this.#counts.get(key)
      if (lane === undefined) this.#counts.set(key, (lane = { queue, name, pending: 0, running: 0 }))
      this.#counted = lane
    }
    lane.pending += pending
    lane.running += running
  }

  counts(): Counts['lanes'] {
    const held = [...this.#counts.values()].filter(({ pending, running }) => pending > 0 || running > 0)
    return held.map((lane) => ({ ...lane }))
  }

  /** The tickets that count, in no order. */
  *tickets(): Generator<Ticket<Run>> {
    for (const heap of [this.#delayed, ...[...this.#lanes.values()].map(({ ready }) => ready)]) {
      for (const ticket of heap) if (isValid(ticket)) yield ticket
    }
  }

  #push(ticket: Ticket<Run>): void {
    const { queue, name, group } = ticket.run
    const key = group === undefined ? `${queue}\0${name}` : `${queue}\0${name}\0${group}`
    let lane = this.#lanes.get(key)
    if (lane === undefined)
      this.#lanes.set(key, (lane = { queue, name, group, ready: new PriorityQueue<Ticket<Run>>(inOrder) }))
    lane.ready.push(ticket)
    this.#wake(ticket.run)
  }

  #wake(lane: { queue: string; name: string }): void {
    for (const [hearing, wants] of this.#waiting) {
      for (const [named, want] of wants) {
        if (!this.#isWanted(want, lane)) continue
        wants.delete(named)
        hearing.hear({ kind: 'work' })
        return
      }
    }
  }

  #isWanted({ names, queues }: Want, { queue, name }: { queue: string; name: string }): boolean {
    if (!names.includes(name) || queues?.includes(queue) === false) return false
    return (
      this.#paused.size === 0 ||
      !(this.#paused.has(pauseKey({ queue })) || this.#paused.has(pauseKey({ name })))
    )
  }
}

const pauseKey = (lanes: Selected): string =>
  'queue' in lanes ? `queue ${lanes.queue}` : `name ${lanes.name}`

const isValid = ({ run, number }: Ticket<Queued>): boolean =>
  run.status === 'pending' && run.ticket === number

const inOrder = (a: Ticket<Queued>, b: Ticket<Queued>): number =>
  b.priority - a.priority || a.dueAt - b.dueAt || a.run.seq - b.run.seq

const inTurn = <Run extends Queued>(a: Head<Run>, b: Head<Run>): number =>
  a.served - b.served || inOrder(a.ticket, b.ticket)

function firstValid<Run extends Queued>(heap: PriorityQueue<Ticket<Run>>): Ticket<Run> | undefined {
  for (let ticket = heap.peek(); ticket !== undefined; ticket = heap.peek()) {
    if (isValid(ticket)) return ticket
    heap.pop()
  }
  return undefined
}
