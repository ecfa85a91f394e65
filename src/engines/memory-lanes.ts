// The memory engine's queue: what is ready by queue and name, what is due later, who waits for it, and how many there are.
import type { Counts, Hint, Want } from '../engine.ts'
import { nameOfWant } from '../engine.ts'
import { Heap } from '../heap.ts'

/** Where a connection is told what happens. */
export interface Hearing {
  hear(hint: Hint): void
}

/** What a lane needs to know of a run. */
export interface Queued {
  readonly seq: number
  readonly queue: string
  readonly name: string
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

const isValid = ({ run, number }: Ticket<Queued>): boolean =>
  run.status === 'pending' && run.ticket === number
const laneOf = (queue: string, name: string): string => `${queue}\0${name}`
const isWanted = (want: Want, queue: string, name: string): boolean =>
  want.names.includes(name) && want.queues?.includes(queue) !== false

export class Lanes<Run extends Queued> {
  readonly #ready = new Map<string, Heap<Ticket<Run>>>()
  readonly #delayed = new Heap<Ticket<Run>>((a, b) => a.dueAt - b.dueAt)
  readonly #counts = new Map<string, Counts['lanes'][number]>()
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

  /** The first in order of priority, then due time, of the wanted lanes. */
  take(want: Want): Run | undefined {
    let best: Heap<Ticket<Run>> | undefined
    for (const [key, lane] of this.#ready) {
      const [queue, name] = key.split('\0') as [string, string]
      if (!isWanted(want, queue, name)) continue
      const head = firstValid(lane)
      if (head === undefined) this.#ready.delete(key)
      else if (best === undefined || inOrder(head, best.peek() as Ticket<Run>) < 0) best = lane
    }
    return best?.pop()?.run
  }

  moveDue(now: number): void {
    for (let ticket = firstValid(this.#delayed); ticket !== undefined; ticket = firstValid(this.#delayed)) {
      if (ticket.dueAt > now) return
      this.#delayed.pop()
      this.#push(ticket)
    }
  }

  nextDue(): number | undefined {
    return firstValid(this.#delayed)?.dueAt
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

  add({ queue, name }: Run, pending: number, running: number): void {
    const key = laneOf(queue, name)
    let lane = this.#counts.get(key)
    if (lane === undefined) this.#counts.set(key, (lane = { queue, name, pending: 0, running: 0 }))
    lane.pending += pending
    lane.running += running
  }

  counts(): Counts['lanes'] {
    const held = [...this.#counts.values()].filter(({ pending, running }) => pending > 0 || running > 0)
    return held.map((lane) => ({ ...lane }))
  }

  #push(ticket: Ticket<Run>): void {
    const { queue, name } = ticket.run
    const key = laneOf(queue, name)
    let lane = this.#ready.get(key)
    if (lane === undefined) this.#ready.set(key, (lane = new Heap<Ticket<Run>>(inOrder)))
    lane.push(ticket)
    this.#wake(ticket.run)
  }

  #wake({ queue, name }: Run): void {
    for (const [hearing, wants] of this.#waiting) {
      for (const [named, want] of wants) {
        if (!isWanted(want, queue, name)) continue
        wants.delete(named)
        hearing.hear({ kind: 'work' })
        return
      }
    }
  }
}

const inOrder = (a: Ticket<Queued>, b: Ticket<Queued>): number =>
  b.priority - a.priority || a.dueAt - b.dueAt || a.run.seq - b.run.seq

function firstValid<Run extends Queued>(heap: Heap<Ticket<Run>>): Ticket<Run> | undefined {
  for (let ticket = heap.peek(); ticket !== undefined; ticket = heap.peek()) {
    if (isValid(ticket)) return ticket
    heap.pop()
  }
  return undefined
}
