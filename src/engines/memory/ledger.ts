// The memory engine's state: every run and slot, and the indexes that follow the events of the lifecycle.
import { PriorityQueue } from '../../base/priority-queue.ts'
import type { Draft, FollowUp, Parent, Status, Total } from '../../contract/engine.ts'
import { KEY_LENGTH } from '../../contract/engine.ts'
import type { Ledger, Place, Slot } from '../../contract/lifecycle/ledger.ts'
import { dueOf, isLive, keyOf } from '../../contract/lifecycle/ledger.ts'
import type { Hearing } from '../../drivers/lanes.ts'
import { ReadyLanes } from '../../drivers/lanes.ts'
import type { StoreClock } from './clock.ts'
import type { Run } from './runs.ts'
import { runOf, standingOf } from './runs.ts'

export class MemoryLedger implements Ledger<Run> {
  readonly runs = new Map<string, Run>()
  readonly slots = new Map<string, Slot<Run>>()
  /** The running runs by id. A small map stays in the cache, however many runs wait or have ended. */
  readonly running = new Map<string, Run>()
  /** The runs that are cancelled if nobody asks for them. */
  readonly attending = new Set<Run>()
  /** The ended runs, the next one to be removed first. */
  readonly expiring = new PriorityQueue<Run>((a, b) => a.expiresAt - b.expiresAt)
  readonly lanes = new ReadyLanes<Run>()
  readonly totals: Partial<Record<Total, number>> = {}
  now = 0
  wallAhead = 0
  #asking: Hearing | undefined
  #seq = 0

  /** Begins a step: the time stands still until the next one. `asking` is told of the ends that its drafts watch. */
  step(clock: StoreClock, asking?: Hearing): this {
    this.now = clock.now()
    this.#asking = asking
    if (clock.jumped(this.now)) {
      this.wallAhead = clock.wallAhead
      this.#retime()
    }
    return this
  }

  slot(key: string): Slot<Run> {
    let slot = this.slots.get(key)
    if (slot === undefined)
      this.slots.set(key, (slot = { run: undefined, accepted: undefined, next: undefined }))
    if (slot.run !== undefined && this.#isGone(slot.run)) slot.run = undefined
    if (slot.accepted !== undefined && this.#isGone(slot.accepted)) slot.accepted = undefined
    return slot
  }

  slotOf(run: Run): Slot<Run> {
    return run.slot
  }

  run(id: string): Run | undefined {
    return this.running.get(id) ?? this.runs.get(id)
  }

  /** A run by its id, or the run that stands under a key. */
  find(idOrKey: string): Run | undefined {
    const slot = idOrKey.length === KEY_LENGTH ? this.slots.get(idOrKey) : undefined
    const run = slot === undefined ? this.runs.get(idOrKey) : (slot.run ?? slot.accepted)
    return run === undefined || this.#isGone(run) ? undefined : run
  }

  make(draft: Draft, parent: Parent | undefined, slot: Slot<Run>): Run {
    const run = runOf(draft, slot, ++this.#seq, this.now, dueOf(this, draft), parent)
    this.runs.set(run.id, run)
    if (run.attended !== undefined) this.attending.add(run)
    return run
  }

  put(run: Run, place: Place): void {
    run.place = place
  }

  followUps(run: Run): Iterable<FollowUp> {
    return run.followUps?.values() ?? []
  }

  addFollowUp(run: Run, follow: FollowUp): void {
    run.followUps ??= new Map()
    if (!run.followUps.has(follow.draft.id)) run.followUps.set(follow.draft.id, follow)
  }

  dropFollowUps(run: Run): void {
    run.followUps = undefined
  }

  ready(run: Run): void {
    this.lanes.enqueue(run, this.now)
  }

  moved(run: Run, before: Status | undefined): void {
    const { status } = run
    const pending = Number(status === 'pending') - Number(before === 'pending')
    const running = Number(status === 'running') - Number(before === 'running')
    this.lanes.add(run, pending, running)
    if (status === 'running') {
      this.running.set(run.id, run)
    } else if (before === 'running') {
      run.owner = undefined
      this.running.delete(run.id)
      this.lanes.over(run)
    }
  }

  ended(run: Run): void {
    this.expiring.push(run)
    const { watchers } = run
    if (watchers === undefined) return
    run.watchers = undefined
    const standing = standingOf(run, this.wallAhead)
    for (const watcher of watchers) watcher.hear({ kind: 'ended', id: run.id, run: standing })
  }

  cancelled(run: Run): void {
    run.owner?.hear({ kind: 'cancelled', id: run.id })
  }

  watched(run: Run): void {
    if (this.#asking === undefined) return
    run.watchers ??= new Set()
    run.watchers.add(this.#asking)
  }

  attended(run: Run): void {
    if (run.attended === undefined) this.attending.delete(run)
  }

  total(total: Total): void {
    this.totals[total] = (this.totals[total] ?? 0) + 1
  }

  /** Removes an ended run for good. */
  forget(run: Run): void {
    this.runs.delete(run.id)
    const { slot } = run
    if (slot.run === run) slot.run = undefined
    if (slot.accepted === run) slot.accepted = undefined
    const key = keyOf(run.id)
    if (isEmpty(slot) && this.slots.get(key) === slot) this.slots.delete(key)
  }

  /** Forgets the slot of a key that holds nothing any more. */
  tidy(key: string): void {
    const slot = this.slots.get(key)
    if (slot !== undefined && isEmpty(slot)) this.slots.delete(key)
  }

  /** The wall clock has jumped: runs that wait for one of its moments get new tickets. */
  #retime(): void {
    for (const run of this.runs.values()) {
      if (run.status !== 'pending' || run.runAt === undefined) continue
      run.dueAt = run.runAt - this.wallAhead
      if (run.place !== 'behind') this.ready(run)
    }
  }

  #isGone(run: Run): boolean {
    return !isLive(run) && run.expiresAt <= this.now
  }
}

const isEmpty = ({ run, accepted, next }: Slot<Run>): boolean =>
  run === undefined && accepted === undefined && next === undefined
