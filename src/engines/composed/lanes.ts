// Lanes: the transport's queue for each queue, name and priority in use, and the document that tells every worker of them.
import { createHash } from 'node:crypto'
import type { Want } from '../../engine.ts'
import { DeferqError } from '../../errors.ts'
import type { Keyed } from '../../keyed.ts'
import type { Names } from './documents.ts'
import type { Lock } from './lock.ts'

export interface Lane {
  queue: string
  name: string
  /** A queue is first in, first out: each priority has its own. */
  priority: number
  /** For what was claimed and given back: ahead of all others. */
  front: boolean
}

type Row = [queue: string, name: string, priority: number, front: boolean]

// Names of queues may hold 255 bytes in AMQP, and the prefix and the priority want some of them.
const MOST = 90

export class Lanes {
  readonly #tasks: Keyed
  readonly #names: Names
  readonly #lock: Lock
  readonly #prefix: string
  #known = new Map<string, Lane>()
  #reading: Promise<void> | undefined
  #readAt = Number.NEGATIVE_INFINITY

  constructor(tasks: Keyed, names: Names, lock: Lock, prefix: string) {
    this.#tasks = tasks
    this.#names = names
    this.#lock = lock
    this.#prefix = prefix
  }

  queueOf({ queue, name, priority, front }: Lane): string {
    const place = priority === 0 ? '' : `.${priority}`
    return `${this.#prefix}.q.${safe(queue)}.${safe(name)}${place}${front ? '.front' : ''}`
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
      if (held.leftMs() < this.#tasks.callMs) {
        throw new DeferqError(
          'STORE_UNAVAILABLE',
          'The lock of the lanes was lost before they could be written.',
        )
      }
      const rows = [...all.values()].map(
        ({ queue, name, priority, front }): Row => [queue, name, priority, front],
      )
      await this.#tasks.write([{ key: this.#names.lanes(), value: JSON.stringify({ v: 1, lanes: rows }) }])
      this.#known = all
    } finally {
      await held.release()
    }
  }

  /** Those that are wanted, the most urgent first; equal ones by turns, so that none starves behind another. */
  wanted({ names, queues }: Want): string[] {
    const lanes = [...this.#known.entries()]
      .filter(([, lane]) => names.includes(lane.name) && queues?.includes(lane.queue) !== false)
      .map(([queue, lane]) => ({ queue, lane, turn: Math.random() }))
    lanes.sort(
      (a, b) =>
        Number(b.lane.front) - Number(a.lane.front) || b.lane.priority - a.lane.priority || a.turn - b.turn,
    )
    return lanes.map(({ queue }) => queue)
  }

  /** Whether anything is new since the last look, which is repeated when it is older than `maxAgeMs`. */
  async refresh(maxAgeMs: number): Promise<boolean> {
    if (performance.now() - this.#readAt < maxAgeMs) return false
    const before = this.#known
    this.#reading ??= this.read().finally(() => {
      this.#reading = undefined
    })
    await this.#reading
    return [...this.#known.keys()].some((queue) => !before.has(queue))
  }

  async read(): Promise<void> {
    const [text] = await this.#tasks.read([this.#names.lanes()])
    const known = new Map<string, Lane>()
    for (const [queue, name, priority, front] of rowsOf(text)) {
      const lane = { queue, name, priority, front }
      known.set(this.queueOf(lane), lane)
    }
    this.#known = known
    this.#readAt = performance.now()
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
