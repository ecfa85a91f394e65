// A binary heap: the smallest item first, by the order it is given.

export class Heap<T> {
  readonly #items: T[] = []
  readonly #order: (a: T, b: T) => number

  constructor(order: (a: T, b: T) => number) {
    this.#order = order
  }

  get size(): number {
    return this.#items.length
  }

  peek(): T | undefined {
    return this.#items[0]
  }

  push(item: T): void {
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

  pop(): T | undefined {
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

  /** All of them in order, which leaves the heap as it is. */
  sorted(): T[] {
    return this.#items.toSorted(this.#order)
  }
}
