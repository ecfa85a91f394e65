// Picks what is claimed where runs have groups: the groups of one name take turns, the one served longest ago first.

import { PriorityQueue } from '../../base/priority-queue.ts'
import type { Want } from '../../contract/engine.ts'
import type { Connection } from './connection.ts'
import type { Group, OpenLane } from './groups.ts'
import { begin, groupsOf } from './groups.ts'

/** The row numbers of what is to be claimed, in order; the turns and begins of their groups are noted. */
export function pick(connection: Connection, lanes: readonly OpenLane[], want: Want, now: number): number[] {
  const groups = groupsOf(connection, new Set(lanes.map(({ grouping }) => grouping)), want, now)
  const free = new PriorityQueue<Cursor>(inOrder)
  const shares = new Map<number, Share>()
  for (const lane of lanes) {
    const group = groups.get(lane.grouping)
    if (group === undefined) {
      const cursor = new Cursor(connection, lane, now)
      if (cursor.open()) free.push(cursor)
    } else if (group.opensAt <= now) {
      const share = shares.get(group.id)
      const cursor = new Cursor(connection, lane, now)
      if (share === undefined) shares.set(group.id, new Share(group, cursor))
      else share.lanes.push(cursor)
    }
  }
  const byName = new Map<string, PriorityQueue<Share>>()
  for (const share of shares.values()) {
    const heap = byName.get(share.group.name) ?? new PriorityQueue<Share>(inTurn)
    byName.set(share.group.name, heap)
    heap.push(share)
  }
  const picked: number[] = []
  const served = new Set<Share>()
  while (picked.length < want.limit) {
    let best = free.peek()
    let turn: PriorityQueue<Share> | undefined
    for (const heap of byName.values()) {
      const head = heap.peek()?.head()
      if (head === undefined || (best !== undefined && inOrder(head, best) >= 0)) continue
      best = head
      turn = heap
    }
    if (best === undefined) break
    if (turn === undefined) {
      picked.push((free.pop() as Cursor).seq)
      if (best.advance()) free.push(best)
      continue
    }
    const share = turn.pop() as Share
    if (best.open()) {
      picked.push(best.seq)
      share.taken++
      share.turn = LATEST + picked.length
      served.delete(share)
      served.add(share)
      best.advance()
    }
    if (share.taken < share.group.room && share.head() !== undefined) turn.push(share)
  }
  for (const { group, taken } of served) begin(connection, group, taken, want.limits?.[group.name], now)
  return picked
}

// Later than any turn that a store has noted.
const LATEST = 2 ** 52
// Most lanes of a claim that is shared give one run or a few.
const FIRST_LOOK = 4
const LARGEST_LOOK = 256

/** What is ready in a lane, in order, read a few at a time. */
class Cursor {
  readonly priority: number
  due: number
  seq = 0
  ended = false
  readonly #connection: Connection
  readonly #lane: number
  readonly #now: number
  #ahead: { seq: number; due_at: number }[] = []
  #size = FIRST_LOOK

  constructor(connection: Connection, { id, priority, due }: OpenLane, now: number) {
    this.#connection = connection
    this.#lane = id
    this.#now = now
    this.priority = priority
    this.due = due
  }

  /** Whether there is a run at all: looked up only for those whose turn it is. */
  open(): boolean {
    return this.seq !== 0 || this.advance()
  }

  advance(): boolean {
    if (this.#ahead.length === 0) {
      const after = [this.seq === 0 ? -1 : this.due, this.seq] as const
      this.#ahead = this.#connection.statement(LOOK).all(this.#lane, this.#now, ...after, this.#size) as {
        seq: number
        due_at: number
      }[]
      this.#size = Math.min(this.#size * 4, LARGEST_LOOK)
      this.#ahead.reverse()
    }
    const next = this.#ahead.pop()
    if (next === undefined) {
      this.ended = true
      return false
    }
    this.seq = next.seq
    this.due = next.due_at
    return true
  }
}

/** What one group may have of this claim. */
class Share {
  readonly group: Group
  readonly lanes: Cursor[]
  turn: number
  taken = 0

  constructor(group: Group, lane: Cursor) {
    this.group = group
    this.lanes = [lane]
    this.turn = group.served
  }

  head(): Cursor | undefined {
    let head: Cursor | undefined
    for (const lane of this.lanes) {
      if (!lane.ended && (head === undefined || inOrder(lane, head) < 0)) head = lane
    }
    return head
  }
}

/** First in, first out: which run was born first is looked up only where all else is equal. */
function inOrder(a: Cursor, b: Cursor): number {
  return b.priority - a.priority || a.due - b.due || (a.open() && b.open() ? a.seq - b.seq : 0)
}

const inTurn = (a: Share, b: Share): number =>
  a.turn - b.turn || inOrder(a.head() as Cursor, b.head() as Cursor)

const LOOK = `
  SELECT seq, due_at FROM runs
  WHERE status = 0 AND slot <> 2 AND lane = ?1 AND due_at <= ?2 AND due_at >= ?3 AND (due_at > ?3 OR seq > ?4)
  ORDER BY due_at, seq LIMIT ?5`
