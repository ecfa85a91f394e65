// Time limits that nearly always are kept: one timer serves all of them, and is set anew only when it fires.

export interface Deadline {
  /** On this process's own monotonic clock. */
  readonly at: number
  readonly late: () => void
  /** Among those that are open; -1 once it is met or overdue. */
  place: number
}

/** With a timer for each, what is alone would set one up and take it down for every command and every attempt: 2 µs and more. */
export class Deadlines {
  readonly #open: Deadline[] = []
  #timer: NodeJS.Timeout | undefined
  #firesAt = Number.POSITIVE_INFINITY

  /** Calls `late` at that moment or soon after, unless it is met before. Keeps no process alive. */
  add(at: number, late: () => void): Deadline {
    const deadline = { at, late, place: this.#open.length }
    this.#open.push(deadline)
    if (at < this.#firesAt) this.#set(at)
    return deadline
  }

  /** In time; or once more, which changes nothing. */
  met(deadline: Deadline): void {
    const { place } = deadline
    if (place < 0) return
    const last = this.#open.pop() as Deadline
    if (last !== deadline) {
      this.#open[place] = last
      last.place = place
    }
    deadline.place = -1
  }

  #set(at: number): void {
    clearTimeout(this.#timer)
    this.#firesAt = at
    // What is further away than timers reach is set anew when that is over.
    const ms = Math.min(Math.max(0, at - performance.now()), 2_147_483_647)
    this.#timer = setTimeout(() => this.#fire(), ms).unref()
  }

  #fire(): void {
    this.#firesAt = Number.POSITIVE_INFINITY
    const now = performance.now()
    for (const deadline of this.#open.filter(({ at }) => at <= now)) {
      // One that is late may have met another.
      if (deadline.place < 0) continue
      this.met(deadline)
      deadline.late()
    }
    const next = this.#open.reduce((least, { at }) => Math.min(least, at), Number.POSITIVE_INFINITY)
    if (next < this.#firesAt) this.#set(next)
  }
}
