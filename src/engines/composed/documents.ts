// The documents that a step works on: read as they are asked for, and written back where they were changed.
import type { Lanes } from '../../contract/engine.ts'
import { KEY_LENGTH } from '../../contract/engine.ts'
import type { Read, Write } from '../../drivers/keyv.ts'
import type { Names, Run, Slot } from './document-store.ts'
import { readAside, readSlot, SET_ASIDE_MS, writeAside, writeSlot } from './document-store.ts'
import { Gate, readGate, readPart } from './group-queue.ts'
import { isPaused, readPaused } from './pauses.ts'

/** What was read, by its name in the store. */
export type Loaded = ReadonlyMap<string, Read>

/** Asked for in place of a key: which lanes are paused. */
export const PAUSED = '!'

export class Table {
  /** Keys and ids that a step asked for and that were not read: it has to be taken again with them. */
  readonly missing = new Set<string>()
  readonly malformed: { id: string; reason: string }[] = []
  readonly #loaded: Loaded
  readonly #names: Names
  readonly #slots = new Map<string, Slot>()
  readonly #asides = new Map<string, Run | undefined>()
  #paused: readonly Lanes[] | undefined
  readonly #gates = new Map<string, Gate>()
  readonly #changed = new Set<string>()
  /** How often something was changed or found damaged; none: there is nothing to write. */
  changes = 0
  /** Documents that can't be read, with their text if there is any. */
  readonly #damaged = new Map<string, string | undefined>()

  constructor(loaded: Loaded, names: Names) {
    this.#loaded = loaded
    this.#names = names
  }

  slot(key: string): Slot {
    let slot = this.#slots.get(key)
    if (slot !== undefined) return slot
    const name = this.#names.slot(key)
    if (!this.#loaded.has(name)) this.missing.add(key)
    slot = this.#parse(name, key, readSlot) ?? {}
    this.#slots.set(key, slot)
    return slot
  }

  /** The run with this id, wherever it stands. */
  find(id: string): Run | undefined {
    const { run, accepted, next } = this.slot(id.slice(0, KEY_LENGTH))
    if (run?.id === id) return run
    if (accepted?.id === id) return accepted
    if (next?.id === id) return next
    if (this.#asides.has(id)) return this.#asides.get(id)
    const name = this.#names.aside(id)
    if (!this.#loaded.has(name)) this.missing.add(id)
    const aside = this.#parse(name, id, readAside)
    this.#asides.set(id, aside)
    return aside
  }

  /** Whether what stands under this key is at hand, and locked where it is to be changed. */
  has(key: string): boolean {
    return this.#loaded.has(this.#names.slot(key))
  }

  /** Whether nothing of this lane is to be given out. */
  paused(lane: { queue: string; name: string }): boolean {
    const name = this.#names.paused()
    if (!this.#loaded.has(name)) this.missing.add(PAUSED)
    this.#paused ??= readPaused(this.#loaded.get(name))
    return isPaused(this.#paused, lane)
  }

  /** What the runs of a group pass; whoever asks for it may change it. */
  gate(id: string): Gate {
    let gate = this.#gates.get(id)
    if (gate !== undefined) return gate
    gate = new Gate(id, this.#document(id, readGate), (part) => this.#document(part, readPart))
    this.#gates.set(id, gate)
    return gate
  }

  /** It stands under its key from now on; what stood there is still found under its id. */
  put(slot: Slot, run: Run): void {
    if (slot.run !== undefined && slot.run !== slot.accepted) this.#setAside(slot.run)
    slot.run = run
    this.touch(run)
  }

  dropAccepted(slot: Slot): void {
    const { run, accepted } = slot
    if (accepted === undefined) return
    delete slot.accepted
    if (accepted !== run) this.#setAside(accepted)
    this.#mark(this.#names.slot(accepted.id.slice(0, KEY_LENGTH)))
  }

  /** It waits behind the run that stands there. */
  putBehind(slot: Slot, run: Run): void {
    slot.next = run
    this.touch(run)
  }

  /** What waited there has ended, and is still found under its id. */
  dropNext(slot: Slot): void {
    const { next } = slot
    if (next === undefined) return
    delete slot.next
    this.#setAside(next)
    this.#mark(this.#names.slot(next.id.slice(0, KEY_LENGTH)))
  }

  /** It goes on, and nobody who comes after this joins it. */
  moveAside(slot: Slot): void {
    const { run } = slot
    if (run === undefined) return
    delete slot.run
    this.#setAside(run)
    this.#mark(this.#names.slot(run.id.slice(0, KEY_LENGTH)))
  }

  /** Nobody asks for it any more. */
  forget(run: Run): void {
    const slot = this.slot(run.id.slice(0, KEY_LENGTH))
    if (this.#asides.has(run.id)) this.#asides.set(run.id, undefined)
    this.touch(run)
    if (slot.run === run) delete slot.run
    if (slot.accepted === run) delete slot.accepted
  }

  touch(run: Run): void {
    const key = run.id.slice(0, KEY_LENGTH)
    const slot = this.slot(key)
    const here = slot.run === run || slot.accepted === run || slot.next === run
    this.#mark(here ? this.#names.slot(key) : this.#names.aside(run.id))
  }

  /** What stands aside first: where the store takes one after the other, a run is rather in two places than in none. */
  writes(now: number): { writes: Write[]; removals: string[] } {
    const writes: Write[] = []
    const removals: string[] = []
    for (const [name, text] of this.#damaged) {
      if (text !== undefined)
        writes.push({ key: this.#names.damaged(name), value: text, ttlMs: SET_ASIDE_MS })
      if (!this.#changed.has(name)) removals.push(name)
    }
    for (const [id, run] of this.#asides) {
      const name = this.#names.aside(id)
      if (!this.#changed.has(name)) continue
      if (run === undefined) removals.push(name)
      else writes.push(writeAside(name, run, now))
    }
    for (const [key, slot] of this.#slots) {
      const name = this.#names.slot(key)
      if (!this.#changed.has(name)) continue
      const write = writeSlot(name, slot, now)
      if (write === undefined) removals.push(name)
      else writes.push(write)
    }
    // After the runs that pass them: a place that stays taken is found and given back, a run that has lost its place is not.
    for (const gate of this.#gates.values()) {
      for (const part of gate.documents(now)) {
        const name = this.#names.gate(part.id)
        if (part.value === undefined) removals.push(name)
        else
          writes.push({
            key: name,
            value: part.value,
            ...(part.ttlMs === undefined ? {} : { ttlMs: part.ttlMs }),
          })
      }
    }
    const written = new Set(writes.map(({ key }) => key))
    return { writes, removals: removals.filter((name) => !written.has(name)) }
  }

  #document(id: string, read: (text: string) => unknown): string | undefined {
    const name = this.#names.gate(id)
    if (!this.#loaded.has(name)) this.missing.add(id)
    return this.#parse(name, id, (text) => (read(text) === undefined ? undefined : text))
  }

  #setAside(run: Run): void {
    this.#asides.set(run.id, run)
    this.#mark(this.#names.aside(run.id))
  }

  #mark(name: string): void {
    this.#changed.add(name)
    this.changes++
  }

  #parse<T>(name: string, id: string, read: (text: string) => T | undefined): T | undefined {
    const text = this.#loaded.get(name)
    if (text === undefined) return undefined
    const document = typeof text === 'string' ? read(text) : undefined
    if (document !== undefined) return document
    this.changes++
    this.#damaged.set(name, typeof text === 'string' ? text : undefined)
    this.malformed.push({ id, reason: 'its document in the store of tasks can’t be read, and was set aside' })
    return undefined
  }
}
