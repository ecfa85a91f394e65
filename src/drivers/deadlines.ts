// Ends what waits longer than it may, by one timer for all: one for each call costs more than all else about waiting.

interface Waiting {
  deadline: number
  end(): void
}

export class Deadlines {
  readonly #waiting = new Set<Waiting>()
  #timer: NodeJS.Timeout | undefined
  /** When the timer is due; it stays when nobody waits any more, and finds nothing. */
  #due = Number.POSITIVE_INFINITY

  /** The answer, or a rejection with `late` at the deadline, a moment of performance.now(). */
  within<Answer>(deadline: number, answer: Promise<Answer>, late: unknown): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const waiting = { deadline, end: () => reject(late) }
      this.#waiting.add(waiting)
      if (deadline < this.#due) this.#set(deadline)
      answer.then(
        (value) => {
          this.#waiting.delete(waiting)
          resolve(value)
        },
        (error: unknown) => {
          this.#waiting.delete(waiting)
          reject(error)
        },
      )
    })
  }

  /** Lets the process end; to be called when no answer will be waited for any more. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#due = Number.POSITIVE_INFINITY
  }

  #set(due: number): void {
    clearTimeout(this.#timer)
    this.#due = due
    this.#timer = setTimeout(this.#look, Math.max(1, Math.ceil(due - performance.now())))
  }

  readonly #look = (): void => {
    const now = performance.now()
    let next = Number.POSITIVE_INFINITY
    for (const waiting of this.#waiting) {
      if (waiting.deadline > now) {
        next = Math.min(next, waiting.deadline)
      } else {
        this.#waiting.delete(waiting)
        waiting.end()
      }
    }
    this.#due = Number.POSITIVE_INFINITY
    if (next < this.#due) this.#set(next)
  }
}
