// The memory engine's queue: what is ready by queue, name and group, what is due later, who waits for it, and how many there are.

import { Heap } from '../../base/priority-queue.ts'
import type { Counts, Hint, Lanes as Selected, Want } from '../../contract/engine.ts'
import { nameOfWant } from '../../contract/engine.ts'
import { Groups } from './groups.ts'

/** Where a connection is told what happens. */
export interface Hearing {
  hear(hint: Hint): void
}

/** What a lane needs to know of a run. */
export interface Queued {
  readonly seq: number
  readonly queue: string
  readonly name: string
  readonly group?: string
  readonly status: string
  readonly priority: number
  readonly dueAt: number
  /** The one valid ticket; older ones are passed over. */
  ticket: number
}

/** A place in a lane; it keeps the order it was given when the run's own priority or due time moves on. */
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
  ready: Heap<Ticket<Run>>
}

/** What a lane has to offer first. */
interface Head<Run> {
  lane: Lane<Run>
  ticket: Ticket<Run>
  served: number
}

export class Lanes<Run extends Queued> {
  readonly #lanes = new Map<string, Lane<Run>>()
  readonly #delayed = new Heap<Ticket<Run>>((a, b) => a.dueAt - b.dueAt)
  readonly #groups = new Groups()
  readonly #paused = new Map<string, Selected>()
  readonly #counts = new Map<string, Counts['lanes'][number]>()
  /** The one of them that was changed last. */
  #counted: Counts['lanes'][number] | undefined
  readonly #waiting = new Map<Hearing, Map<string, Want>>()

  /** A ticket for this run, as it is now; earlier ones lose their meaning. */
  enqueue(run: Run, now: number): void {
    const ticket = { run, number: ++run.ticket, priority: run.priority, dueAt: run.dueAt }
    if (run.dueAt <= now) {
      this.#push(ticket)
      return
    }
    this.#delayed.push(ticket)
    // A sleeping worker has to learn that something is due sooner than it was told.
    if (this.#delayed.peek() === ticket) this.#wake(run)
  }

  /** The first in order of priority, then due time, of the wanted lanes; of a name's groups the one served longest ago. */
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

  /** Hears `work` once something wanted comes up; wanting nothing, no more. */
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
    // Most runs are like the one before: seen without making a key.
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
      this.#lanes.set(key, (lane = { queue, name, group, ready: new Heap<Ticket<Run>>(inOrder) }))
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

function firstValid<Run extends Queued>(heap: Heap<Ticket<Run>>): Ticket<Run> | undefined {
  for (let ticket = heap.peek(); ticket !== undefined; ticket = heap.peek()) {
    if (isValid(ticket)) return ticket
    heap.pop()
  }
  return undefined
}
