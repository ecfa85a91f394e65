// Lanes: the transport's queue for each queue, name and priority in use, and the document that tells every worker of them.

import { createHash } from 'node:crypto'
import { environment } from '../../base/environment.ts'
import { DeferqError } from '../../base/errors.ts'
import type { Lanes as Selected, Want } from '../../contract/engine.ts'
import type { Keyed } from '../../drivers/keyv.ts'
import type { Names } from './document-store.ts'
import type { Held, Lock } from './lock.ts'
import { isPaused, isSame, readPaused, writePaused } from './pauses.ts'

/**
 * What a lane carries: runs, those that were claimed and given back (ahead of all others), runs of groups on their way into
 * their line, and the turns of groups.
 */
export type Kind = 'ready' | 'front' | 'intake' | 'turns'

export interface Lane {
  queue: string
  name: string
  /** A queue is first in, first out: each priority has its own. */
  priority: number
  kind: Kind
}

type Row = [queue: string, name: string, priority: number, kind: Kind]

// Names of queues may hold 200 bytes, and the prefix, the priority and the kind want up to sixty of them.
const MOST = 70

export class Lanes {
  readonly #tasks: Keyed
  readonly #names: Names
  readonly #lock: Lock
  readonly #prefix: string
  #known = new Map<string, Lane>()
  #paused: readonly Selected[] = []
  #reading: Promise<void> | undefined
  #readAt = Number.NEGATIVE_INFINITY

  constructor(tasks: Keyed, names: Names, lock: Lock, prefix: string) {
    this.#tasks = tasks
    this.#names = names
    this.#lock = lock
    this.#prefix = prefix
  }

  queueOf({ queue, name, priority, kind }: Lane): string {
    const place = priority === 0 ? '' : `.${priority}`
    return `${this.#prefix}.q.${safe(queue)}.${safe(name)}${place}${kind === 'ready' ? '' : `.${kind}`}`
  }

  /** Which lane a message has come from. */
  laneOf(queue: string): Lane | undefined {
    return this.#known.get(queue)
  }

  /** Before the first message: a lane that nobody knows of is one that nobody takes from. */
  async register(lanes: Iterable<Lane>, holdMs: number, waitMs: number): Promise<void> {
    const unknown = [...lanes].filter((lane) => !this.#known.has(this.queueOf(lane)))
    if (unknown.length === 0) return
    const held = await this.#lock.acquire([this.#names.lock('lanes')], holdMs, waitMs)
    try {
      await this.read()
      const missing = unknown.filter((lane) => !this.#known.has(this.queueOf(lane)))
      if (missing.length === 0) return
      const all = new Map(this.#known)
      for (const lane of missing) all.set(this.queueOf(lane), lane)
      this.#checkHeld(held)
      const rows = [...all.values()].map(
        ({ queue, name, priority, kind }): Row => [queue, name, priority, kind],
      )
      await this.#tasks.write([{ key: this.#names.lanes(), value: JSON.stringify({ v: 1, lanes: rows }) }])
      this.#known = all
    } finally {
      await held.release()
    }
  }

  /** Those that are wanted and not paused, the most urgent first; equal ones by turns, so that none starves behind another. */
  wanted({ names, queues }: Want, kinds: readonly Kind[]): string[] {
    const lanes = [...this.#known.entries()]
      .filter(([, { kind, name, queue }]) => {
        return kinds.includes(kind) && names.includes(name) && queues?.includes(queue) !== false
      })
      .filter(([, lane]) => !isPaused(this.#paused, lane))
      .map(([queue, lane]) => ({
        queue,
        lane,
        first: Number(lane.kind === 'front'),
        turn: environment.random(),
      }))
    lanes.sort((a, b) => b.first - a.first || b.lane.priority - a.lane.priority || a.turn - b.turn)
    return lanes.map(({ queue }) => queue)
  }

  /** Those that claim from now on know of it; those that are at it may not yet. */
  async pause(lanes: Selected, paused: boolean, holdMs: number, waitMs: number): Promise<void> {
    const held = await this.#lock.acquire([this.#names.lock('lanes')], holdMs, waitMs)
    try {
      await this.read()
      const others = this.#paused.filter((each) => !isSame(each, lanes))
      this.#checkHeld(held)
      const all = paused ? [...others, lanes] : others
      await this.#tasks.write([{ key: this.#names.paused(), value: writePaused(all) }])
      this.#paused = all
    } finally {
      await held.release()
    }
  }

  /** Whether anything is new since the last look, which is repeated when it is older than `maxAgeMs`. */
  async refresh(maxAgeMs: number): Promise<boolean> {
    if (environment.monotonic() - this.#readAt < maxAgeMs) return false
    const before = this.#known
    const paused = writePaused(this.#paused)
    this.#reading ??= this.read().finally(() => {
      this.#reading = undefined
    })
    await this.#reading
    return paused !== writePaused(this.#paused) || [...this.#known.keys()].some((queue) => !before.has(queue))
  }

  async read(): Promise<void> {
    const [text, paused] = await this.#tasks.read([this.#names.lanes(), this.#names.paused()])
    const known = new Map<string, Lane>()
    for (const [queue, name, priority, kind] of rowsOf(text)) {
      const lane = { queue, name, priority, kind }
      known.set(this.queueOf(lane), lane)
    }
    this.#known = known
    this.#paused = readPaused(paused)
    this.#readAt = environment.monotonic()
  }

  #checkHeld(held: Held): void {
    if (held.leftMs() >= this.#tasks.callMs) return
    throw new DeferqError('STORE_UNAVAILABLE', 'The lock of the lanes was lost before they could be written.')
  }
}

/** Lanes that can't be read are registered anew by the next message for each. */
function rowsOf(text: unknown): Row[] {
  if (typeof text !== 'string') return []
  try {
    const { lanes } = JSON.parse(text) as { lanes: Row[] }
    return lanes.filter(([queue, name]) => typeof queue === 'string' && typeof name === 'string')
  } catch {
    return []
  }
}

/** Letters, digits, dash and underscore stay; what is too long ends in its hash. */
function safe(text: string): string {
  const encoded = encodeURIComponent(text).replace(
    /[.!~*'()]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16)}`,
  )
  if (encoded.length <= MOST) return encoded
  return `${encoded.slice(0, MOST - 24)}%${createHash('sha256').update(text).digest('hex').slice(0, 23)}`
}
