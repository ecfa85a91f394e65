// Natural batching: a batch leaves at the end of the tick when there is room; while it is under way, what comes gathers for the next.

interface Waiting<Item, Answer> {
  item: Item
  resolve: (answer: Answer | PromiseLike<Answer>) => void
  reject: (error: unknown) => void
}

// Two under way keep the store busy with one while this process reads the answers of the other: 100 callers in two
// batches of 50 get 1.5 times as much done as in one of 100. A script or transaction costs the same for one item as for
// a few dozen, so fewer are not split; above a hundred or so the gain is spent, and others only wait longer.
const UNDER_WAY = 2
const LEAST = 32
const MOST = 128
// Behind a promise that is settled, not queueMicrotask(), which keeps a record of who asked: 1 µs.
const SETTLED = Promise.resolve()

export class Batcher<Item, Answer> {
  readonly #send: (items: Item[]) => Promise<readonly (Answer | PromiseLike<Answer>)[]>
  readonly #most: number
  readonly #inOrder: boolean
  #gathered: Waiting<Item, Answer>[] = []
  #underWay = 0
  #scheduled = false
  /** The last batch to end has failed. */
  #failing = false

  /** An answer that is a rejected promise refuses its item alone. `inOrder`: no batch leaves before the one before it has ended. */
  constructor(
    send: (items: Item[]) => Promise<readonly (Answer | PromiseLike<Answer>)[]>,
    { underWay = UNDER_WAY, inOrder = false }: { underWay?: number; inOrder?: boolean } = {},
  ) {
    this.#send = send
    this.#most = inOrder ? 1 : underWay
    this.#inOrder = inOrder
  }

  add(item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#gathered.push({ item, resolve, reject })
      if (this.#scheduled || !this.#hasRoom) return
      this.#scheduled = true
      void SETTLED.then(this.#flush)
    })
  }

  /** Where nothing answers, each batch would wait out its time before the next one may: callers would fail ever later, in turn. */
  get #hasRoom(): boolean {
    return this.#underWay < this.#most || (this.#failing && !this.#inOrder)
  }

  readonly #flush = (): void => {
    this.#scheduled = false
    while (this.#gathered.length > 0 && this.#hasRoom) {
      const share = Math.ceil(this.#gathered.length / Math.max(1, this.#most - this.#underWay))
      const batch = this.#gathered.splice(0, Math.min(MOST, Math.max(LEAST, share)))
      this.#underWay++
      void this.#deliver(batch)
    }
  }

  async #deliver(batch: Waiting<Item, Answer>[]): Promise<void> {
    try {
      const answers = await this.#send(batch.map(({ item }) => item))
      this.#failing = false
      for (let index = 0; index < batch.length; index++) {
        ;(batch[index] as Waiting<Item, Answer>).resolve(answers[index] as Answer)
      }
    } catch (error) {
      this.#failing = true
      for (const { reject } of batch) reject(error)
    } finally {
      this.#underWay--
      this.#flush()
    }
  }
}
