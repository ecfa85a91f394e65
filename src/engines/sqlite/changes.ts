// What one step has changed in memory, and how all of it is written at once.
import type { FollowUp, Total } from '../../contract/engine.ts'
import type { Connection } from './connection.ts'
import { StaleLane } from './connection.ts'
import type { Lane, Run } from './rows.ts'
import {
  addFollowUp,
  completeRun,
  countLane,
  countTotal,
  insertRuns,
  moveRun,
  storeAttended,
  storeExtra,
  storeParams,
  storeRun,
} from './write.ts'

export class Changes {
  readonly #fresh: Run[] = []
  readonly #changed = new Set<Run>()
  readonly #completed = new Set<Run>()
  readonly #moved = new Set<Run>()
  readonly #attended = new Set<Run>()
  readonly #params = new Set<Run>()
  readonly #extra = new Set<Run>()
  readonly #follows: { run: Run; follow: FollowUp }[] = []
  readonly #lanes = new Map<number, { pending: number; running: number }>()
  readonly #totals = new Map<Total, number>()

  /** A run that is fresh is written whole, so that no other change of it needs to be noted. */
  fresh(run: Run): void {
    this.#fresh.push(run)
    if (run.attended !== null || run.policy.everyMs !== undefined) this.#attended.add(run)
  }

  changed(run: Run): void {
    if (run.seq !== 0) this.#changed.add(run)
  }

  completed(run: Run): void {
    this.#completed.add(run)
  }

  moved(run: Run): void {
    if (run.seq !== 0) this.#moved.add(run)
    this.changed(run)
  }

  attended(run: Run): void {
    this.#attended.add(run)
  }

  params(run: Run): void {
    if (run.seq !== 0) this.#params.add(run)
  }

  extra(run: Run): void {
    if (run.seq !== 0) this.#extra.add(run)
  }

  follow(run: Run, follow: FollowUp): void {
    this.#follows.push({ run, follow })
  }

  count(lane: number, pending: number, running: number): void {
    const counted = this.#lanes.get(lane)
    if (counted === undefined) {
      this.#lanes.set(lane, { pending, running })
      return
    }
    counted.pending += pending
    counted.running += running
  }

  total(total: Total, count: number): void {
    this.#totals.set(total, (this.#totals.get(total) ?? 0) + count)
  }

  /** Answers the lanes of groups in which fewer run than before. */
  write(connection: Connection): Lane[] {
    insertRuns(connection, this.#fresh)
    for (const run of this.#changed) if (!this.#completed.has(run)) storeRun(connection, run)
    for (const run of this.#completed) completeRun(connection, run)
    for (const run of this.#moved) moveRun(connection, run)
    for (const run of this.#attended) storeAttended(connection, run)
    for (const run of this.#params) storeParams(connection, run)
    for (const run of this.#extra) storeExtra(connection, run)
    for (const { run, follow } of this.#follows) addFollowUp(connection, run, follow)
    const roomier: Lane[] = []
    for (const [id, { pending, running }] of this.#lanes) {
      if (pending === 0 && running === 0) continue
      if (!countLane(connection, id, pending, running)) throw new StaleLane()
      const lane = running < 0 ? connection.laneById(id) : undefined
      if (lane !== undefined && lane.grouping > 0) roomier.push(lane)
    }
    for (const [total, count] of this.#totals) countTotal(connection, total, count)
    for (const each of [this.#changed, this.#completed, this.#moved, this.#attended, this.#params])
      each.clear()
    this.#extra.clear()
    this.#lanes.clear()
    this.#totals.clear()
    this.#fresh.length = 0
    this.#follows.length = 0
    return roomier
  }
}
