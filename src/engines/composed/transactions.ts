// Decide and write, under the locks of the keys concerned: lock, read, decide, send the messages, write, give the locks back.

import { DeferqError } from '../../base/errors.ts'
import { sleep } from '../../base/time.ts'
import type { Hint } from '../../contract/engine.ts'
import { KEY_LENGTH, MAX_BATCH } from '../../contract/engine.ts'
import type { Transport } from '../../contract/transport.ts'
import type { Keyed, Read } from '../../drivers/keyv.ts'
import { Late } from '../../drivers/keyv.ts'
import { Step } from './decisions.ts'
import type { Names, Run } from './document-store.ts'
import { standingOf } from './document-store.ts'
import { PAUSED, Table } from './documents.ts'
import type { Hub } from './hub.ts'
import type { Lane, Lanes } from './lanes.ts'
import type { Held, Lock } from './lock.ts'
import { readyMessage, readyOf, timerMessages, turnMessage } from './messages.ts'
import type { Tallies } from './tally.ts'
import { SHARDS } from './tally.ts'

// Longer than the reading, sending and writing under it may take together.
export const HOLD_MS = 15_000
export const WAIT_MS = 5_000
const GATE_LENGTH = 33

export interface Parts {
  tasks: Keyed
  lock: Lock
  queue: Transport
  names: Names
  lanes: Lanes
  tallies: Tallies
  hub: Hub
  timersQueue: string
  now(): number
  tell(hint: Hint): void
}

export interface Plan {
  /** Keys, ids where the run with that id is asked for, and gates. */
  of: Iterable<string>
  /** Whether counters may change. */
  counted?: boolean
  /** What has to be done before anything is written, and is under way already. */
  first?: Promise<void>
}

/** The parts of a composed engine, ready to be used. */
export interface ComposedParts extends Pick<Parts, 'tasks' | 'lock' | 'queue' | 'now'> {
  prefix: string
}

export class Transactions {
  readonly #parts: Parts
  readonly #releasing = new Set<Promise<void>>()
  readonly #closing = new AbortController()
  /** When something that was sent from here is due; the nearest of them at least. */
  #due: number[] = []

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Without locks: right for answers that change nothing. */
  async look<T>(of: Iterable<string>, decide: (step: Step) => T): Promise<{ answer: T; step: Step }> {
    const loaded = new Map<string, Read>()
    let wanted = new Set(of)
    for (;;) {
      await this.#load(wanted, loaded)
      const step = new Step(new Table(loaded, this.#parts.names), this.#parts.now())
      const answer = decide(step)
      if (step.table.missing.size === 0) return { answer, step }
      wanted = step.table.missing
    }
  }

  /** `decide` may be called again, with more at hand: it must do nothing but ask the step. */
  async run<T>({ of, counted = true, first }: Plan, decide: (step: Step) => T): Promise<T> {
    const { lock, names, tallies, now } = this.#parts
    const held: Held[] = []
    const loaded = new Map<string, Read>()
    const shard = counted ? tallies.take() : undefined
    const locked = new Set<string>()
    let keepMs = 0
    try {
      let wanted = new Set(of)
      const extra = shard === undefined ? [] : [names.tally(shard)]
      for (;;) {
        // Runs before the gates that they pass: nobody holds a gate and waits for a run that another may hold.
        const keys = new Set([...wanted].filter((id) => id !== PAUSED).map((id) => names.lock(lockedAs(id))))
        if (shard !== undefined && locked.size === 0) keys.add(names.lock(`tally.${shard}`))
        const needed = [...keys].filter((key) => !locked.has(key)).sort()
        if (needed.length > 0) held.push(await lock.acquire(needed, HOLD_MS, WAIT_MS))
        for (const key of needed) locked.add(key)
        await this.#load(wanted, loaded, extra)
        const step = new Step(new Table(loaded, names), now())
        const answer = decide(step)
        if (step.table.missing.size === 0) {
          await first
          await this.#commit(step, held, shard, loaded)
          return answer
        }
        wanted = step.table.missing
      }
    } catch (error) {
      // A write that is overdue may still arrive: its keys are kept for as long again.
      if (error instanceof DeferqError && error.cause instanceof Late) keepMs = this.#parts.tasks.callMs
      throw error
    } finally {
      this.#release(held, shard, keepMs)
    }
  }

  /** Answers once all that had begun to count when it was called has ended: each holds the lock of one tally. */
  async settled(): Promise<void> {
    const { lock, names } = this.#parts
    await Promise.all(
      Array.from({ length: SHARDS }, async (_, shard) => {
        const held = await lock.acquire([names.lock(`tally.${shard}`)], HOLD_MS, WAIT_MS)
        await held.release()
      }),
    )
  }

  /** In milliseconds from now, as far as it is known here. */
  nextDueMs(): number | undefined {
    const now = this.#parts.now()
    this.#due = this.#due.filter((at) => at > now)
    return this.#due.length === 0 ? undefined : Math.min(...this.#due) - now
  }

  dueIn(ms: number): void {
    this.#due.push(this.#parts.now() + ms)
    if (this.#due.length > 1_000) this.#due = this.#due.sort((a, b) => a - b).slice(0, 500)
  }

  /** Until all locks are given back. */
  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.all(this.#releasing)
  }

  async #load(of: Iterable<string>, loaded: Map<string, Read>, extra: readonly string[] = []): Promise<void> {
    const { names, tasks } = this.#parts
    const wanted = new Set(extra)
    for (const id of of) {
      if (id === PAUSED) wanted.add(names.paused())
      else if (id.startsWith('@')) wanted.add(names.gate(id))
      else wanted.add(names.slot(id.slice(0, KEY_LENGTH)))
      if (id.length > KEY_LENGTH) wanted.add(names.aside(id))
    }
    const missing = [...wanted].filter((name) => !loaded.has(name))
    const texts = await tasks.read(missing)
    for (const [index, name] of missing.entries()) loaded.set(name, texts[index])
  }

  /**
   * The messages first: when sending fails, nothing was written and nothing stands under a key that nobody will ever run. A
   * message whose document did not follow says nothing to whoever looks.
   */
  async #commit(
    step: Step,
    held: readonly Held[],
    shard: number | undefined,
    loaded: ReadonlyMap<string, Read>,
  ): Promise<void> {
    const { tasks, tallies, names, hub } = this.#parts
    await this.#send(step)
    const carried = shard === undefined ? {} : tallies.carry()
    try {
      const { writes, removals } = step.table.writes(step.now)
      if (shard !== undefined) {
        const tally = tallies.write(shard, loaded.get(names.tally(shard)), step, carried)
        if (tally !== undefined) writes.push(tally)
      }
      checkHeld(held, tasks.callMs)
      // One after the other where the store can't take them at once, in the order in which a crash harms least.
      if (tasks.atomic) await tasks.write(writes)
      else for (const write of writes) await tasks.write([write])
      if (removals.length > 0) {
        checkHeld(held, tasks.callMs)
        await tasks.remove(removals)
      }
    } catch (error) {
      tallies.later(carried)
      throw error
    }
    for (const id of step.cancelled) hub.cancelled(id)
    for (const run of step.ended) hub.ended(standingOf(run))
    for (const { run } of step.announcements.values())
      if (run.dueAt > step.now) this.dueIn(run.dueAt - step.now)
  }

  async #send(step: Step): Promise<void> {
    const { queue, lanes, timersQueue, now } = this.#parts
    const waiting = [...step.announcements.values()].filter(({ run }) => run.status === 'pending')
    const ready = waiting.map(({ run, front }) => ({
      ready: readyOf(run, front, step.now),
      delayMs: run.dueAt - step.now,
      lane: laneOf(run, front),
    }))
    ready.push(...step.resent)
    const turns = step.turns.map((turn) => ({ turn, lane: turnsOf(turn) }))
    if (ready.length + turns.length > 0) {
      const used = [...ready, ...turns].map(({ lane }) => lane)
      await lanes.register(used, HOLD_MS, WAIT_MS)
    }
    // What was measured from the beginning of the step is not to be had later by the time that it took.
    const passedMs = now() - step.now
    const timers = step.timers.map((timer) => ({ ...timer, delayMs: Math.max(0, timer.delayMs - passedMs) }))
    const messages = [
      ...ready.map(({ ready, delayMs, lane }) => readyMessage(ready, lanes.queueOf(lane), delayMs)),
      ...turns.map(({ turn, lane }) => turnMessage(turn, lanes.queueOf(lane))),
      ...timerMessages(timers, timersQueue, step.now),
    ]
    for (let at = 0; at < messages.length; at += MAX_BATCH)
      await queue.publish(messages.slice(at, at + MAX_BATCH))
  }

  /** Nobody waits for it: the answer stands. */
  #release(held: readonly Held[], shard: number | undefined, keepMs: number): void {
    const { tallies } = this.#parts
    const until = keepMs > 0 ? sleep(keepMs, this.#closing.signal) : Promise.resolve()
    const releasing = until
      .then(() => Promise.all(held.map((each) => each.release())))
      .then(
        () => {},
        () => {},
      )
      .finally(() => {
        if (shard !== undefined) tallies.giveBack(shard)
        this.#releasing.delete(releasing)
      })
    this.#releasing.add(releasing)
  }
}

function laneOf({ queue, name, priority, group }: Run, front: boolean): Lane {
  if (group !== undefined) return { queue, name, priority: 0, kind: 'intake' }
  return { queue, name, priority, kind: front ? 'front' : 'ready' }
}

const turnsOf = ({ queue, name }: { queue: string; name: string }): Lane => ({
  queue,
  name,
  priority: 0,
  kind: 'turns',
})

/** Parts of a line are under the lock of their gate. */
const lockedAs = (id: string): string =>
  id.startsWith('@') ? id.slice(0, GATE_LENGTH) : id.slice(0, KEY_LENGTH)

/** With time to spare for the write itself: a lock that ran out while this process was frozen may be another's by now. */
function checkHeld(held: readonly Held[], spareMs: number): void {
  if (held.every((each) => each.leftMs() > spareMs)) return
  throw new DeferqError(
    'STORE_UNAVAILABLE',
    'The lock ran out before what it protects could be written: nothing was. This process or its servers were too slow; try again.',
  )
}
