// A queue in the order it is given, smallest first: a plain line for what comes in order, as nearly everything does, and a binary heap for the rest.

export class PriorityQueue<T> {
  /** In order; what stands before `#head` has left. */
  #line: T[] = []
  #head = 0
  readonly #items: T[] = []
  readonly #order: (a: T, b: T) => number

  constructor(order: (a: T, b: T) => number) {
    this.#order = order
  }

  get size(): number {
    return this.#line.length - this.#head + this.#items.length
  }

  peek(): T | undefined {
    return this.#isInLine() ? this.#line[this.#head] : this.#items[0]
  }

  /** All items, in no order. */
  *[Symbol.iterator](): Generator<T> {
    for (let at = this.#head; at < this.#line.length; at++) yield this.#line[at] as T
    yield* this.#items
  }

  push(item: T): void {
    const line = this.#line
    if (this.#head === line.length || this.#order(line.at(-1) as T, item) <= 0) line.push(item)
    else this.#raise(item)
  }

  pop(): T | undefined {
    if (!this.#isInLine()) return this.#take()
    const item = this.#line[this.#head++]
    if (this.#head === this.#line.length) {
      this.#line.length = 0
      this.#head = 0
    } else if (this.#head * 2 > this.#line.length) {
      // Cut off now and then, so that each item is moved no more than once for it.
      this.#line = this.#line.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  /** All of them in order, which leaves the queue as it is. */
  sorted(): T[] {
    return [...this.#line.slice(this.#head), ...this.#items].sort(this.#order)
  }

  /** Whether the line's first comes before the heap's; not so where there is none. */
  #isInLine(): boolean {
    if (this.#head === this.#line.length) return false
    return this.#items.length === 0 || this.#order(this.#line[this.#head] as T, this.#items[0] as T) <= 0
  }

  #raise(item: T): void {
    const items = this.#items
    let at = items.length
    items.push(item)
    while (at > 0) {
      const above = (at - 1) >> 1
      if (this.#order(item, items[above] as T) >= 0) break
      items[at] = items[above] as T
      at = above
    }
    items[at] = item
  }

  #take(): T | undefined {
    const items = this.#items
    const top = items[0]
    const last = items.pop()
    if (items.length === 0 || last === undefined) return top
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= items.length) break
      if (below + 1 < items.length && this.#order(items[below + 1] as T, items[below] as T) < 0) below++
      if (this.#order(last, items[below] as T) <= 0) break
      items[at] = items[below] as T
      at = below
    }
    items[at] = last
    return top
  }
}
