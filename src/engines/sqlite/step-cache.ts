// The runs that a step has read, and what lies under their keys, as the step has changed them so far.
import type { Connection } from './connection.ts'
import { rowsOf } from './load.ts'
import type { Broken, Row, Run } from './rows.ts'
import { ACCEPTED, BEHIND, isBroken, keyOf, LIGHT_ROW, runOf, STANDS } from './rows.ts'

/** What stands under a key, and the accepted result that an earlier run has left beside it. */
export interface Slot {
  run?: Run
  older?: Run
  /** Waits behind the run. */
  next?: Run
}

export abstract class Held {
  readonly connection: Connection
  readonly #bySeq = new Map<number, Run>()
  readonly #byId = new Map<string, Run>()
  readonly #slots = new Map<string, Slot>()
  readonly #asked = new Set<string>()

  constructor(connection: Connection) {
    this.connection = connection
  }

  /** A row that can't be read. */
  abstract setAside(broken: Broken): void

  /** Reads the runs with these ids and what stands under their keys: one statement for the batch. */
  load(ids: readonly string[]): void {
    const asked: string[] = []
    for (const id of ids) {
      // What was looked for before is known, or known to be absent: nobody else can write meanwhile.
      if (this.#asked.has(id)) continue
      this.#asked.add(id)
      if (!this.#slots.has(keyOf(id))) this.#slots.set(keyOf(id), {})
      asked.push(id)
    }
    if (asked.length > 0) this.take(rowsOf(this.connection, asked))
  }

  /** The same by row number, without the long texts. */
  loadLight(seqs: readonly number[]): void {
    this.take(this.connection.statement(LOAD_LIGHT).all(JSON.stringify(seqs)) as Row[])
  }

  /** Takes in rows that a statement of this step has read or changed. */
  take(rows: readonly Row[]): Run[] {
    const runs: Run[] = []
    for (const row of rows) {
      const read = runOf(row, (id) => this.connection.laneById(id))
      if (isBroken(read)) {
        this.setAside(read)
        continue
      }
      const run = this.#bySeq.get(read.seq) ?? read
      this.#bySeq.set(run.seq, run)
      this.#byId.set(run.id, run)
      const slot = this.#slots.get(keyOf(run.id))
      if (slot !== undefined && run.slot === STANDS) slot.run = run
      if (slot !== undefined && run.slot === ACCEPTED) slot.older = run
      if (slot !== undefined && run.slot === BEHIND) slot.next = run
      runs.push(run)
    }
    return runs
  }

  /** Whether it was looked for in this step. */
  knows(id: string): boolean {
    return this.#asked.has(id)
  }

  run(id: string): Run | undefined {
    return this.#byId.get(id)
  }

  runBySeq(seq: number): Run | undefined {
    return this.#bySeq.get(seq)
  }

  /** Of an id or key that was loaded. */
  slot(id: string): Slot {
    return this.#slots.get(keyOf(id)) as Slot
  }

  /** What lies under the key of a run that was read by its row. */
  slotOf(run: Run): Slot {
    if (!this.#slots.has(keyOf(run.id))) {
      this.#slots.set(keyOf(run.id), {})
      this.take(rowsOf(this.connection, [run.id]))
    }
    return this.slot(run.id)
  }

  /** A run of this very step. */
  protected add(run: Run): void {
    this.#byId.set(run.id, run)
  }

  /** What is read after it is read anew. */
  protected clear(): void {
    this.#bySeq.clear()
    this.#byId.clear()
    this.#slots.clear()
    this.#asked.clear()
  }
}

const LOAD_LIGHT = `SELECT ${LIGHT_ROW} FROM json_each(?) j CROSS JOIN runs r WHERE r.seq = j.value`
