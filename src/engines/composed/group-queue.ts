// The gate of a group: who of it runs, when attempts began, and who waits in line; one document, and parts for a long line.
import type { Limit } from '../../contract/engine.ts'
import { parsed } from './document-store.ts'

/** A run that waits in line, by the message that announced it. */
export type Place = [id: string, ticket: number, sentAt: number]

/** Of one queue and priority; `front` is for what was claimed and given back. */
interface Line {
  queue: string
  priority: number
  front: boolean
  head: Place[]
  /** Numbers of the parts between: written once, read once. */
  parts: number[]
  tail: Place[]
}

/** A message in the transport says that it is the group's turn in a queue. One with another number is out of date. */
interface Turn {
  number: number
  /** When it can be handed out. */
  at: number
}

interface Part {
  id: string
  /** Left out: to be removed. */
  value?: string
  ttlMs?: number
}

interface Stored {
  running: string[]
  began: number[]
  idleAt: number
  turns: Record<string, Turn>
  counter: number
  lines: Line[]
  checkAt: number
}

interface Loaded {
  places: Place[]
  is: 'as read' | 'new' | 'gone'
}

const PER_PART = 50
// What has become idle is kept for clocks that differ.
const IDLE_MS = 60_000
const VERSION = 1

export class Gate {
  readonly id: string
  readonly #read: (part: string) => string | undefined
  readonly #parts = new Map<number, Loaded>()
  #running: string[] = []
  /** Oldest first, as far back as a rate looks. */
  #began: number[] = []
  /** Before this moment something depends on what began. */
  #idleAt = 0
  #turns: Record<string, Turn> = {}
  /** Counts turns and parts. */
  #counter = 0
  #lines: Line[] = []
  #checkAt = 0
  #changed = false
  #cleared = false

  constructor(id: string, text: string | undefined, read: (part: string) => string | undefined) {
    this.id = id
    this.#read = read
    const stored = text === undefined ? undefined : readGate(text)
    if (stored === undefined) return
    const { running, began, idleAt, turns, counter, lines, checkAt } = stored
    this.#running = running
    this.#began = began
    this.#idleAt = idleAt
    this.#turns = Object.assign(Object.create(null), turns)
    this.#counter = counter
    this.#lines = lines
    this.#checkAt = checkAt
  }

  get running(): readonly string[] {
    return this.#running
  }

  /** When one more may begin: now, at a later moment, or once one of those that run has ended (Infinity). */
  opensAt({ running, rate }: Limit, now: number): number {
    if (running !== undefined && this.#running.length >= running) return Number.POSITIVE_INFINITY
    if (rate === undefined) return now
    const oldest = this.#began.at(-rate.max)
    return oldest === undefined ? now : Math.max(now, oldest + rate.perMs)
  }

  /** How many may begin now. */
  room({ running = Number.POSITIVE_INFINITY, rate }: Limit, now: number): number {
    const places = running - this.#running.length
    if (rate === undefined) return places
    return Math.min(places, rate.max - this.#began.filter((at) => at + rate.perMs > now).length)
  }

  begin(id: string, limit: Limit | undefined, now: number): void {
    if (!this.#running.includes(id)) this.#running.push(id)
    if (limit?.rate !== undefined) {
      const { perMs } = limit.rate
      this.#began = this.#began.filter((at) => at + perMs > now)
      this.#began.push(now)
      this.#idleAt = Math.max(this.#idleAt, now + perMs)
    }
    this.#changed = true
  }

  /** An attempt has ended: there may be room for another. */
  over(id: string): void {
    const left = this.#running.filter((each) => each !== id)
    if (left.length === this.#running.length) return
    this.#running = left
    this.#changed = true
  }

  push(place: Place, queue: string, priority: number, front: boolean): void {
    const { tail, parts, head } = this.#line(queue, priority, front)
    this.#changed = true
    if (parts.length === 0 && tail.length === 0 && head.length < PER_PART) {
      head.push(place)
      return
    }
    tail.push(place)
    if (tail.length < PER_PART) return
    parts.push(++this.#counter)
    this.#parts.set(this.#counter, { places: tail.splice(0), is: 'new' })
  }

  /** The first in line of this queue, taken out of it. */
  shift(queue: string): Place | undefined {
    const line = this.#lines.find((each) => each.queue === queue)
    if (line === undefined) return undefined
    this.#changed = true
    const place = line.head.shift()
    if (line.head.length === 0) this.#refill(line)
    if (line.head.length === 0) this.#lines = this.#lines.filter((each) => each !== line)
    return place
  }

  /** The first in line, in the order in which `shift` would give them. */
  first(queue: string, count: number): Place[] {
    const places: Place[] = []
    for (const { head, parts, tail } of this.#linesOf(queue)) {
      places.push(...head)
      for (const part of parts) if (places.length < count) places.push(...this.#part(part))
      places.push(...tail)
      if (places.length >= count) break
    }
    return places.slice(0, count)
  }

  /** Queues where some wait. */
  get queues(): string[] {
    return [...new Set(this.#lines.map(({ queue }) => queue))]
  }

  turn(queue: string): Readonly<Turn> | undefined {
    return this.#turns[queue]
  }

  /** The number of the next turn in this queue, which can be had at `at`. */
  giveTurn(queue: string, at: number): number {
    this.#changed = true
    this.#turns[queue] = { number: ++this.#counter, at }
    return this.#counter
  }

  repeatTurn(queue: string, at: number): number {
    const turn = this.#turns[queue] as Turn
    turn.at = at
    this.#changed = true
    return turn.number
  }

  /** There is nothing to have a turn for, or no room. */
  endTurn(queue: string): void {
    if (this.#turns[queue] === undefined) return
    delete this.#turns[queue]
    this.#changed = true
  }

  /** Whether it is time to see that those who run still do; if so, not again before `nextMs` have passed. */
  checks(now: number, nextMs: number): boolean {
    if (now < this.#checkAt) return false
    this.#checkAt = now + nextMs
    this.#changed = true
    return true
  }

  /** It was: the next time is whenever it is asked for. */
  checked(): void {
    this.#checkAt = 0
    this.#changed = true
  }

  /** Removes it, if nothing depends on it any more. */
  clear(now: number): void {
    this.#cleared = this.#isIdle && this.#idleAt <= now
  }

  /** What is to be written; the parts of the line before what leads to them. */
  documents(now: number): Part[] {
    if (this.#cleared) return [{ id: this.id }]
    if (!this.#changed) return []
    const documents: Part[] = []
    const gone: Part[] = []
    for (const [number, { places, is }] of this.#parts) {
      const id = this.#partId(number)
      if (is === 'gone') gone.push({ id })
      else if (is === 'new') documents.push({ id, value: JSON.stringify({ v: VERSION, places }) })
    }
    const value: Stored & { v: number } = {
      v: VERSION,
      running: this.#running,
      began: this.#began,
      idleAt: this.#idleAt,
      turns: this.#turns,
      counter: this.#counter,
      lines: this.#lines,
      checkAt: this.#checkAt,
    }
    const gate: Part = { id: this.id, value: JSON.stringify(value) }
    // In the same write as the runs that have passed it, so never removed at once.
    if (this.#isIdle) gate.ttlMs = Math.max(0, this.#idleAt - now) + IDLE_MS
    return [...documents, gate, ...gone]
  }

  get #isIdle(): boolean {
    return this.#running.length === 0 && this.#lines.length === 0
  }

  #line(queue: string, priority: number, front: boolean): Line {
    const found = this.#lines.find(
      (line) => line.queue === queue && line.front === front && line.priority === priority,
    )
    if (found !== undefined) return found
    const line: Line = { queue, priority, front, head: [], parts: [], tail: [] }
    this.#lines.push(line)
    this.#lines.sort((a, b) => Number(b.front) - Number(a.front) || b.priority - a.priority)
    return line
  }

  #linesOf(queue: string): Line[] {
    return this.#lines.filter((line) => line.queue === queue)
  }

  #refill(line: Line): void {
    const part = line.parts.shift()
    if (part === undefined) {
      line.head = line.tail.splice(0)
      return
    }
    line.head = [...this.#part(part)]
    this.#parts.set(part, { places: [], is: 'gone' })
  }

  #part(number: number): readonly Place[] {
    const loaded = this.#parts.get(number)
    if (loaded !== undefined) return loaded.places
    const text = this.#read(this.#partId(number))
    const places = (text === undefined ? undefined : readPart(text)) ?? []
    this.#parts.set(number, { places, is: 'as read' })
    return places
  }

  #partId(number: number): string {
    return `${this.id}.${number}`
  }
}

/** Undefined for what is no such document. */
export function readGate(text: string): Stored | undefined {
  const json = parsed(text)
  if (json?.v !== VERSION) return undefined
  const stored = json as never as Stored
  const lists = [stored.running, stored.began, stored.lines]
  const numbers = [stored.idleAt, stored.counter, stored.checkAt]
  const whole =
    lists.every(Array.isArray) && numbers.every(Number.isFinite) && typeof stored.turns === 'object'
  return whole ? stored : undefined
}

export function readPart(text: string): Place[] | undefined {
  const json = parsed(text)
  return json?.v === VERSION && Array.isArray(json.places) ? (json.places as Place[]) : undefined
}
