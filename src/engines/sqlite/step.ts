// One atomic step in memory: the runs it has read, what the rules changed of them, and how that is written at once.
import type { Draft, FollowUp, Parent, Selector, Total } from '../../engine.ts'
import { MAX_ERRORS } from '../../engine.ts'
import type { Connection } from './connection.ts'
import { StaleLane } from './connection.ts'
import { rowsOf } from './load.ts'
import type { Broken, CANCELLED, Row, Run } from './rows.ts'
import {
  ACCEPTED,
  asideOf,
  COMPLETED,
  FAILED,
  HAS_FOLLOW_UPS,
  HAS_OLDER_RESULT,
  isBroken,
  isUsable,
  keyOf,
  LIGHT_ROW,
  MALFORMED,
  PENDING,
  parentFrom,
  RUNNING,
  runOf,
  STANDS,
} from './rows.ts'

import { addFollowUp, completeRun, countLane, countTotal, insertRuns, moveRun, storeRun } from './write.ts'

/** What stands under a key, and the accepted result that an earlier run has left beside it. */
export interface Slot {
  run?: Run
  older?: Run
}

/** What others are told once the step is committed. */
export interface News {
  ended: string[]
  cancelled: string[]
  /** Pending again or anew. */
  ready: Run[]
  /** To be watched by the one who asked. */
  watched: Run[]
  invalidated?: Selector
  trouble: string[]
}

// A malformed row is kept for a week, for somebody to look at.
const KEEP_MALFORMED_MS = 604_800_000

export class Step {
  readonly now: number
  readonly news: News = { ended: [], cancelled: [], ready: [], watched: [], trouble: [] }
  readonly malformed: { id: string; reason: string }[] = []
  readonly connection: Connection
  readonly #bySeq = new Map<number, Run>()
  readonly #byId = new Map<string, Run>()
  readonly #slots = new Map<string, Slot>()
  readonly #fresh: Run[] = []
  readonly #changed = new Set<Run>()
  readonly #completed = new Set<Run>()
  readonly #moved = new Set<Run>()
  readonly #follows: { run: Run; follow: FollowUp }[] = []
  readonly #ending: { run: Run; value: string | undefined }[] = []
  readonly #following: { draft: Draft; parent: Parent | null }[] = []
  readonly #lanes = new Map<number, { pending: number; running: number }>()
  readonly #totals = new Map<Total, number>()

  constructor(connection: Connection, now: number) {
    this.connection = connection
    this.now = now
  }

  /** Reads the runs with these ids and what stands under their keys: one statement for the batch. */
  load(ids: readonly string[]): void {
    const asked: string[] = []
    for (const id of ids) {
      // What was looked for before is known, or known to be absent: nobody else can write meanwhile.
      if (this.#byId.has(id)) continue
      if (!this.#slots.has(keyOf(id))) this.#slots.set(keyOf(id), {})
      asked.push(id)
    }
    if (asked.length > 0) this.#take(rowsOf(this.connection, asked))
  }

  /** The same by row number, without the long texts. */
  loadLight(seqs: readonly number[]): void {
    this.#take(this.connection.statement(LOAD_LIGHT).all(JSON.stringify(seqs)) as Row[])
  }

  /** Takes in rows that a statement of this step has read or changed. */
  take(rows: readonly Row[]): Run[] {
    return this.#take(rows)
  }

  #take(rows: readonly Row[]): Run[] {
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
      runs.push(run)
    }
    return runs
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

  create(draft: Draft, parent: Parent | null = null): Run {
    const slot = this.slot(draft.id)
    if (slot.run !== undefined) this.#supersede(slot, slot.run)
    if (slot.older !== undefined && !isUsable(slot.older, this.now)) {
      this.place(slot.older, asideOf(slot.older.id))
      delete slot.older
    }
    const then = draft.then ?? []
    const run: Run = {
      seq: 0,
      id: draft.id,
      lane: this.connection.lane(draft.queue, draft.name, draft.priority),
      status: PENDING,
      slot: STANDS,
      tied: (then.length > 0 ? HAS_FOLLOW_UPS : 0) | (slot.older === undefined ? 0 : HAS_OLDER_RESULT),
      dueAt: dueOf(draft, this.now),
      createdAt: this.now,
      expiresAt: null,
      attempt: 0,
      policy: { ...draft.policy },
      startedAt: null,
      finishedAt: null,
      leaseUntil: null,
      freshUntil: null,
      staleUntil: null,
      token: null,
      done: null,
      errors: [],
      params: draft.params,
      extra: draft.extra ?? null,
      parent,
      progress: null,
      result: null,
    }
    slot.run = run
    this.#byId.set(run.id, run)
    this.#fresh.push(run)
    for (const follow of then) this.#follows.push({ run, follow })
    this.count(run.lane.id, 1, 0)
    this.news.ready.push(run)
    return run
  }

  #supersede(slot: Slot, run: Run): void {
    if (!isUsable(run, this.now)) {
      this.place(run, asideOf(run.id))
      return
    }
    if (slot.older !== undefined) this.place(slot.older, asideOf(slot.older.id))
    this.place(run, ACCEPTED)
    slot.older = run
  }

  place(run: Run, slot: number): void {
    run.slot = slot
    if (run.seq !== 0) this.#moved.add(run)
    this.changed(run)
  }

  changed(run: Run): void {
    if (run.seq !== 0) this.#changed.add(run)
  }

  addFollowUps(run: Run, then: readonly FollowUp[]): void {
    if (then.length === 0) return
    run.tied |= HAS_FOLLOW_UPS
    for (const follow of then) this.#follows.push({ run, follow })
    this.changed(run)
  }

  addError(run: Run, error: string): void {
    run.errors = [...run.errors, error].slice(-MAX_ERRORS)
  }

  requeue(run: Run, dueAt: number): void {
    this.count(run.lane.id, 1, -1)
    run.status = PENDING
    run.dueAt = dueAt
    run.token = null
    run.leaseUntil = null
    this.news.ready.push(run)
    this.changed(run)
  }

  end(
    run: Run,
    status: typeof COMPLETED | typeof FAILED | typeof CANCELLED,
    value: string | undefined,
  ): void {
    const { now } = this
    const { policy } = run
    this.count(run.lane.id, run.status === PENDING ? -1 : 0, run.status === RUNNING ? -1 : 0)
    run.status = status
    run.finishedAt = now
    run.token = null
    run.leaseUntil = null
    run.expiresAt = now + policy.retentionMs
    if (status === COMPLETED) {
      const cached = run.slot === STANDS
      run.result = value as string
      run.freshUntil = cached ? now + policy.resultTtlMs : now
      run.staleUntil = cached ? run.freshUntil + policy.staleTtlMs : now
      run.expiresAt = Math.max(run.expiresAt, run.staleUntil)
      if (cached && (run.tied & HAS_OLDER_RESULT) !== 0) this.#dropOlder(run)
      this.#completed.add(run)
    } else {
      if (status === FAILED) run.expiresAt = Math.max(run.expiresAt, now + policy.failureTtlMs)
      this.changed(run)
    }
    this.total(status === COMPLETED ? 'completed' : status === FAILED ? 'failed' : 'cancelled')
    if ((run.tied & HAS_FOLLOW_UPS) !== 0) this.#ending.push({ run, value })
    run.tied = 0
    this.news.ended.push(run.id)
  }

  #dropOlder(run: Run): void {
    this.#slots.set(keyOf(run.id), {})
    this.#take(rowsOf(this.connection, [run.id]))
    const slot = this.slot(run.id)
    if (slot.older !== undefined && slot.older !== run) this.place(slot.older, asideOf(slot.older.id))
    delete slot.older
  }

  /** Admitted with this step, unless it has been before. */
  follow(draft: Draft, parent: Parent | null): void {
    this.#following.push({ draft, parent })
  }

  /** What follows a run that has ended, if it waits for such an end. */
  followIf(follow: FollowUp, run: Run, value: string | undefined): void {
    if (follow.on !== 'both' && (follow.on === 'success') !== (run.status === COMPLETED)) return
    this.follow(follow.draft, follow.sameParent ? this.#parentOf(run) : parentFrom(run, value))
  }

  #parentOf(run: Run): Parent | null {
    if (run.parent !== undefined) return run.parent
    const { parent } = this.connection.statement('SELECT parent FROM runs WHERE seq = ?').get(run.seq) as {
      parent: string | null
    }
    return parent === null ? null : (JSON.parse(parent) as Parent)
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

  total(total: Total, count = 1): void {
    this.#totals.set(total, (this.#totals.get(total) ?? 0) + count)
  }

  /** Takes a row out of everybody's way, and says so once. */
  setAside({ seq, id, reason }: Broken): void {
    const { connection } = this
    const before = connection.statement('SELECT status, lane FROM runs WHERE seq = ?').get(seq) as
      | {
          status: number
          lane: number
        }
      | undefined
    if (before === undefined || before.status === MALFORMED) return
    const lane = connection.laneById(before.lane)
    if (lane !== undefined)
      this.count(lane.id, before.status === PENDING ? -1 : 0, before.status === RUNNING ? -1 : 0)
    connection.statement(SET_ASIDE).run(-seq, lane?.id ?? 0, this.now + KEEP_MALFORMED_MS, seq)
    this.malformed.push({ id, reason })
    this.news.trouble.push(`The run ${id} can't be read, and was set aside: ${reason}.`)
  }

  /** Writes everything; what is read after it is read anew. */
  flush(): void {
    const { connection } = this
    this.#admitFollowUps()
    insertRuns(connection, this.#fresh)
    for (const run of this.#changed) if (!this.#completed.has(run)) storeRun(connection, run)
    for (const run of this.#completed) completeRun(connection, run)
    for (const run of this.#moved) moveRun(connection, run)
    for (const { run, follow } of this.#follows) addFollowUp(connection, run, follow)
    for (const [lane, { pending, running }] of this.#lanes) {
      if ((pending !== 0 || running !== 0) && !countLane(connection, lane, pending, running))
        throw new StaleLane()
    }
    for (const [total, count] of this.#totals) countTotal(connection, total, count)
    this.#changed.clear()
    this.#completed.clear()
    this.#moved.clear()
    this.#bySeq.clear()
    this.#byId.clear()
    this.#slots.clear()
    this.#lanes.clear()
    this.#totals.clear()
    this.#fresh.length = 0
    this.#follows.length = 0
  }

  #admitFollowUps(): void {
    const { connection } = this
    for (const { run, value } of this.#ending.splice(0)) {
      const rows = connection.statement(FOLLOW_UPS).all(run.seq) as { id: string; body: string }[]
      for (const { id, body } of rows) {
        try {
          this.followIf(JSON.parse(body) as FollowUp, run, value)
        } catch (error) {
          this.news.trouble.push(
            `The follow-up ${id} of the run ${run.id} can't be read, and was dropped: ${error}`,
          )
        }
      }
      connection.statement(DROP_FOLLOW_UPS).run(run.seq)
    }
    const following = this.#following.splice(0)
    if (following.length === 0) return
    this.load(following.map(({ draft }) => draft.id))
    for (const { draft, parent } of following) {
      if (this.#byId.has(draft.id)) continue
      this.create(draft, parent)
      this.total('created')
    }
  }
}

export const dueOf = (draft: Draft, now: number): number => Math.max(now, draft.dueAt ?? now + draft.delayMs)
const LOAD_LIGHT = `SELECT ${LIGHT_ROW} FROM json_each(?) j CROSS JOIN runs r WHERE r.seq = j.value`
const SET_ASIDE = `
  UPDATE runs SET status = ${MALFORMED}, slot = ?, lane = ?, expires_at = ?, token = NULL, lease_until = NULL
  WHERE seq = ?`
const FOLLOW_UPS = 'SELECT id, body FROM follow_ups WHERE run = ? ORDER BY seq'
const DROP_FOLLOW_UPS = 'DELETE FROM follow_ups WHERE run = ?'
