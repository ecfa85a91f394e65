// Natural batching: a batch leaves at the end of the tick when there is room; while it is under way, what comes gathers for the next.

interface Waiting<Item, Answer> {
  item: Item
  resolve: (answer: Answer) => void
  reject: (error: unknown) => void
}

// Two under way keep the store busy with one while this process reads the answers of the other: 100 callers in two
// batches of 50 get 1.5 times as much done as in one of 100. A script or transaction costs the same for one item as for
// a few dozen, so fewer are not split; above a hundred or so the gain is spent, and others only wait longer.
const UNDER_WAY = 2
const LEAST = 32
const MOST = 128

export class Batcher<Item, Answer> {
  readonly #send: (items: Item[]) => Promise<readonly Answer[]>
  readonly #most: number
  #gathered: Waiting<Item, Answer>[] = []
  #underWay = 0
  #scheduled = false

  /** With one batch under way at a time, the order is kept. */
  constructor(send: (items: Item[]) => Promise<readonly Answer[]>, underWay = UNDER_WAY) {
    this.#send = send
    this.#most = underWay
  }

  add(item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#gathered.push({ item, resolve, reject })
      if (this.#scheduled || this.#underWay >= this.#most) return
      this.#scheduled = true
      queueMicrotask(this.#flush)
    })
  }

  readonly #flush = (): void => {
    this.#scheduled = false
    while (this.#gathered.length > 0 && this.#underWay < this.#most) {
      const share = Math.ceil(this.#gathered.length / (this.#most - this.#underWay))
      const batch = this.#gathered.splice(0, Math.min(MOST, Math.max(LEAST, share)))
      this.#underWay++
      void this.#deliver(batch)
    }
  }

  async #deliver(batch: Waiting<Item, Answer>[]): Promise<void> {
    try {
      const answers = await this.#send(batch.map(({ item }) => item))
      for (let index = 0; index < batch.length; index++) {
        ;(batch[index] as Waiting<Item, Answer>).resolve(answers[index] as Answer)
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    } finally {
      this.#underWay--
      this.#flush()
    }
  }
}
