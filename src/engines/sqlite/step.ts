// One atomic step in memory: the runs it has read, what the rules changed of them, and how that is written at once.
import type { Draft, Parent, Selector, Total } from '../../engine.ts'
import { MAX_ERRORS } from '../../engine.ts'
import type { Connection } from './connection.ts'
import { StaleLane } from './connection.ts'
import { FollowUps } from './follow-ups.ts'
import { rowsOf } from './load.ts'
import { newRun } from './new-run.ts'
import type { Broken, Row, Run } from './rows.ts'
import {
  ACCEPTED,
  asideOf,
  BEHIND,
  CANCELLED,
  COMPLETED,
  FAILED,
  FULL_ROW,
  HAS_FOLLOW_UPS,
  HAS_NEXT,
  HAS_OLDER_RESULT,
  hashOf,
  IS_ATTENDED,
  isBroken,
  isPending,
  isUsable,
  keyOf,
  LIGHT_ROW,
  MALFORMED,
  PENDING,
  RUNNING,
  rememberedUntil,
  runOf,
  STANDS,
} from './rows.ts'

import {
  attendRun,
  completeRun,
  countLane,
  countTotal,
  insertRuns,
  moveRun,
  rewriteRun,
  storeRun,
} from './write.ts'

/** What stands under a key, and the accepted result that an earlier run has left beside it. */
export interface Slot {
  run?: Run
  older?: Run
}

/** What others are told once the step is committed. */
export interface News {
  ended: string[]
  cancelled: string[]
  /** Pending again or anew, or with room for what is. */
  ready: Pick<Run, 'lane' | 'dueAt'>[]
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
  readonly #attended = new Set<Run>()
  /** With the extra, where that is another one too. */
  readonly #rewritten = new Map<Run, string | null | undefined>()
  readonly following = new FollowUps(this)
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
    const run = this.#draw(draft, parent, STANDS)
    if (slot.older !== undefined) run.tied |= HAS_OLDER_RESULT
    slot.run = run
    this.news.ready.push(run)
    return run
  }

  /** It is aside, and in no lane, until the run that stands there makes room for it. */
  createBehind(draft: Draft, run: Run): Run {
    run.tied |= HAS_NEXT
    this.changed(run)
    const next = this.#draw(draft, null, asideOf(draft.id))
    next.status = BEHIND
    return next
  }

  #draw(draft: Draft, parent: Parent | null, place: number): Run {
    const lane = this.connection.lane(draft.queue, draft.name, draft.priority, draft.group)
    const run = newRun(draft, lane, place, parent, this.now)
    if (run.attended !== null) this.#attended.add(run)
    this.#byId.set(run.id, run)
    this.#fresh.push(run)
    this.following.add(run, draft.then)
    this.count(run.lane.id, 1, 0)
    return run
  }

  /** What waits behind the run. */
  behind(run: Run): Run | undefined {
    if ((run.tied & HAS_NEXT) === 0) return undefined
    const key = keyOf(run.id)
    const fresh = this.#fresh.find((each) => each.status === BEHIND && keyOf(each.id) === key)
    if (fresh !== undefined) return fresh
    const rows = this.connection.statement(BEHIND_OF).all(hashOf(run.id)) as Row[]
    return this.#take(rows).find((each) => each.status === BEHIND && keyOf(each.id) === key)
  }

  /** The run has ended, or is no longer what stands there: the one behind it comes forward. */
  promote(run: Run): void {
    const next = this.behind(run)
    run.tied &= ~HAS_NEXT
    if (next === undefined) return
    const slot = this.#reload(run.id)
    if (run.slot === STANDS) this.#supersede(slot, run)
    slot.run = next
    if (slot.older !== undefined) next.tied |= HAS_OLDER_RESULT
    next.status = PENDING
    this.place(next, STANDS)
    this.news.ready.push(next)
  }

  rewrite(run: Run, params: string, extra?: string | null): void {
    run.params = params
    if (extra !== undefined) run.extra = extra
    if (run.seq !== 0) this.#rewritten.set(run, extra)
  }

  /** Somebody has asked for the run; undefined: somebody who wants it kept. */
  attend(run: Run, attended: Draft['attended']): void {
    if (run.attended === null) return
    if (attended === undefined) {
      run.attended = null
      run.attendedUntil = null
      run.tied &= ~IS_ATTENDED
    } else {
      const ms = Math.max(Math.floor(run.attended / 2), attended.ms)
      run.attended = ms * 2 + (attended.running ? run.attended & 1 : 0)
      run.attendedUntil = this.now + ms
    }
    this.#attended.add(run)
    this.changed(run)
  }

  cancel(run: Run, reason: string | undefined): void {
    if (run.status === RUNNING) this.news.cancelled.push(run.id)
    if (reason !== undefined) this.addError(run, reason)
    this.end(run, CANCELLED, reason)
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
    const tied = run.tied
    this.count(run.lane.id, isPending(run) ? -1 : 0, run.status === RUNNING ? -1 : 0)
    run.status = status
    run.finishedAt = now
    run.token = null
    run.leaseUntil = null
    run.expiresAt = now + policy.retentionMs
    if (status === COMPLETED) {
      const cached = run.slot === STANDS
      run.result = value as string
      run.freshUntil = cached ? Math.max(now + policy.resultTtlMs, this.#windowEnd(run)) : now
      run.staleUntil = cached ? run.freshUntil + policy.staleTtlMs : now
      run.expiresAt = Math.max(run.expiresAt, run.staleUntil)
      if (cached && (run.tied & HAS_OLDER_RESULT) !== 0) this.#dropOlder(run)
      this.#completed.add(run)
    } else {
      if (status === FAILED) run.expiresAt = Math.max(run.expiresAt, rememberedUntil(run))
      this.changed(run)
    }
    this.total(status === COMPLETED ? 'completed' : status === FAILED ? 'failed' : 'cancelled')
    if ((tied & HAS_FOLLOW_UPS) !== 0) this.following.ended(run, value)
    if ((tied & IS_ATTENDED) !== 0) {
      run.attended = null
      run.attendedUntil = null
      this.#attended.add(run)
    }
    if ((tied & HAS_NEXT) !== 0) this.promote(run)
    run.tied = 0
    this.news.ended.push(run.id)
  }

  #windowEnd({ startedAt, policy }: Run): number {
    return (startedAt as number) + (policy.everyMs ?? 0)
  }

  #dropOlder(run: Run): void {
    const slot = this.#reload(run.id)
    if (slot.older !== undefined && slot.older !== run) this.place(slot.older, asideOf(slot.older.id))
    delete slot.older
  }

  #reload(id: string): Slot {
    this.#slots.set(keyOf(id), {})
    this.#take(rowsOf(this.connection, [id]))
    return this.slot(id)
  }

  count(lane: number, pending: number, running: number): void {
    if (running < 0) this.#makeRoom(lane)
    const counted = this.#lanes.get(lane)
    if (counted === undefined) {
      this.#lanes.set(lane, { pending, running })
      return
    }
    counted.pending += pending
    counted.running += running
  }

  /** Whoever waits may take another of the group. */
  #makeRoom(id: number): void {
    const lane = this.connection.laneById(id)
    if (lane?.group !== undefined) this.news.ready.push({ lane, dueAt: this.now })
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
      this.count(lane.id, before.status <= PENDING ? -1 : 0, before.status === RUNNING ? -1 : 0)
    connection.statement(SET_ASIDE).run(-seq, lane?.id ?? 0, this.now + KEEP_MALFORMED_MS, seq)
    this.malformed.push({ id, reason })
    this.news.trouble.push(`The run ${id} can't be read, and was set aside: ${reason}.`)
  }

  /** Writes everything; what is read after it is read anew. */
  flush(): void {
    const { connection } = this
    this.following.admit()
    insertRuns(connection, this.#fresh)
    for (const run of this.#fresh) if (run.status !== PENDING) storeRun(connection, run)
    for (const run of this.#changed) if (!this.#completed.has(run)) storeRun(connection, run)
    for (const run of this.#completed) completeRun(connection, run)
    for (const run of this.#moved) moveRun(connection, run)
    for (const run of this.#attended) attendRun(connection, run)
    for (const [run, extra] of this.#rewritten) rewriteRun(connection, run, extra)
    this.following.write()
    for (const [lane, { pending, running }] of this.#lanes) {
      if ((pending !== 0 || running !== 0) && !countLane(connection, lane, pending, running))
        throw new StaleLane()
    }
    for (const [total, count] of this.#totals) countTotal(connection, total, count)
    this.#changed.clear()
    this.#completed.clear()
    this.#moved.clear()
    this.#attended.clear()
    this.#rewritten.clear()
    this.#bySeq.clear()
    this.#byId.clear()
    this.#slots.clear()
    this.#lanes.clear()
    this.#totals.clear()
    this.#fresh.length = 0
  }
}

const BEHIND_OF = `SELECT ${FULL_ROW} FROM runs r WHERE r.hash = ? AND r.status = ${BEHIND}`
const LOAD_LIGHT = `SELECT ${LIGHT_ROW} FROM json_each(?) j CROSS JOIN runs r WHERE r.seq = j.value`
const SET_ASIDE = `
  UPDATE runs SET status = ${MALFORMED}, slot = ?, lane = ?, expires_at = ?, token = NULL, lease_until = NULL
  WHERE seq = ?`
