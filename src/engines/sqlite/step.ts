// One atomic step in memory: the runs it has read, and the ways that the rules lead them through their states.

import type { Attended, Draft, FollowUp, Parent, Total } from '../../contract/engine.ts'
import { MAX_ERRORS } from '../../contract/engine.ts'
import { supersededError } from '../../contract/store-errors.ts'
import { Changes } from './changes.ts'
import type { Connection } from './connection.ts'
import { FollowUps } from './follow.ts'
import type { News } from './news.ts'
import type { Broken, Row, Run } from './rows.ts'
import {
  ACCEPTED,
  asideOf,
  BEHIND,
  CANCELLED,
  COMPLETED,
  dueOf,
  FAILED,
  FULL_ROW,
  HAS_FOLLOW_UPS,
  HAS_NEXT,
  HAS_OLDER_RESULT,
  IS_ATTENDED,
  isUsable,
  keyOf,
  MALFORMED,
  PENDING,
  RUNNING,
  rememberedUntil,
  STANDS,
  windowEnd,
} from './rows.ts'
import type { Slot } from './step-cache.ts'
import { Held } from './step-cache.ts'

// A malformed row is kept for a week, for somebody to look at.
const KEEP_MALFORMED_MS = 604_800_000

export class Step extends Held {
  readonly now: number
  readonly news: News = { ended: [], cancelled: [], ready: [], opened: false, watched: [], trouble: [] }
  readonly malformed: { id: string; reason: string }[] = []
  readonly followUps: FollowUps
  readonly #changes = new Changes()

  constructor(connection: Connection, now: number) {
    super(connection)
    this.now = now
    this.followUps = new FollowUps(this)
  }

  create(draft: Draft, parent: Parent | null = null): Run {
    const slot = this.slot(draft.id)
    this.#vacate(slot)
    const run = this.#add(draft, STANDS, parent)
    if (slot.older !== undefined) run.tied |= HAS_OLDER_RESULT
    slot.run = run
    this.news.ready.push(run)
    return run
  }

  /** Claimed by nobody before `ahead`, which stands there, has ended. */
  createBehind(draft: Draft, ahead: Run): Run {
    const run = this.#add(draft, BEHIND, null)
    this.slot(draft.id).next = run
    ahead.tied |= HAS_NEXT
    this.#changes.changed(ahead)
    return run
  }

  #add(draft: Draft, slot: number, parent: Parent | null): Run {
    const { now } = this
    const { attended } = draft
    const then = draft.then ?? []
    const run: Run = {
      seq: 0,
      id: draft.id,
      lane: this.connection.lane(draft.queue, draft.name, draft.priority, draft.group),
      status: PENDING,
      slot,
      tied: (then.length > 0 ? HAS_FOLLOW_UPS : 0) | (attended === undefined ? 0 : IS_ATTENDED),
      dueAt: dueOf(draft, now),
      createdAt: now,
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
      attended: attended === undefined ? null : { ...attended, until: now + attended.ms },
      params: draft.params,
      extra: draft.extra ?? null,
      parent,
      progress: null,
      result: null,
    }
    this.add(run)
    this.#changes.fresh(run)
    for (const follow of then) this.#changes.follow(run, follow)
    this.count(run.lane.id, 1, 0)
    return run
  }

  /** Moves aside what has ended, but for a result that is still of use. */
  #vacate(slot: Slot): void {
    const { run, older } = slot
    delete slot.run
    if (run !== undefined && !isUsable(run, this.now)) {
      this.place(run, asideOf(run.id))
    } else if (run !== undefined) {
      if (older !== undefined && older !== run) this.place(older, asideOf(older.id))
      this.place(run, ACCEPTED)
      slot.older = run
    }
    if (slot.older !== undefined && !isUsable(slot.older, this.now)) {
      this.place(slot.older, asideOf(slot.older.id))
      delete slot.older
    }
  }

  /** What waits behind a run comes forward, to be claimed. */
  advanceNext(run: Run): void {
    if ((run.tied & HAS_NEXT) === 0) return
    run.tied &= ~HAS_NEXT
    const slot = this.slotOf(run)
    const { next } = slot
    if (next === undefined) return
    this.#vacate(slot)
    delete slot.next
    if (slot.older !== undefined) next.tied |= HAS_OLDER_RESULT
    slot.run = next
    this.#stand(next)
  }

  #stand(next: Run): void {
    this.place(next, STANDS)
    this.news.ready.push(next)
  }

  /** Another one takes its place. It is written as it is: its follow-ups are looked for in the file. */
  supersede(run: Run, by: string): void {
    this.cancel(run, supersededError(run.attempt, this.now, by))
  }

  cancel(run: Run, reason: string | undefined): void {
    if (run.status === RUNNING) this.news.cancelled.push(run.id)
    if (reason !== undefined) this.addError(run, reason)
    this.end(run, CANCELLED, run.errors.at(-1))
  }

  place(run: Run, slot: number): void {
    run.slot = slot
    this.#changes.moved(run)
  }

  changed(run: Run): void {
    this.#changes.changed(run)
  }

  /** The run is to be run with these from now on. */
  setParams(run: Run, params: string): void {
    run.params = params
    this.#changes.params(run)
  }

  setExtra(run: Run, extra: string | null): void {
    run.extra = extra
    this.#changes.extra(run)
  }

  /** Asked for once more: by one who would let it go after a while, or for good. */
  attend(run: Run, attended: Attended | undefined): void {
    if (run.attended === null) return
    const before = run.attended
    run.attended = null
    if (attended === undefined) {
      run.tied &= ~IS_ATTENDED
      this.changed(run)
    } else {
      const ms = Math.max(before.ms, attended.ms)
      run.attended = { ms, running: before.running && attended.running, until: this.now + ms }
    }
    this.#changes.attended(run)
  }

  addFollowUps(run: Run, then: readonly FollowUp[]): void {
    if (then.length === 0) return
    run.tied |= HAS_FOLLOW_UPS
    for (const follow of then) this.#changes.follow(run, follow)
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
      run.freshUntil = cached ? Math.max(now + policy.resultTtlMs, windowEnd(run)) : now
      run.staleUntil = cached ? run.freshUntil + policy.staleTtlMs : now
      run.expiresAt = Math.max(run.expiresAt, run.staleUntil)
      if (cached && (run.tied & HAS_OLDER_RESULT) !== 0) this.#dropOlder(run)
      this.#changes.completed(run)
    } else {
      if (status === FAILED) run.expiresAt = Math.max(run.expiresAt, rememberedUntil(run, now))
      this.changed(run)
    }
    this.total(status === COMPLETED ? 'completed' : status === FAILED ? 'failed' : 'cancelled')
    if ((run.tied & HAS_FOLLOW_UPS) !== 0) this.followUps.ended(run, value)
    if (run.attended !== null) {
      run.attended = null
      this.#changes.attended(run)
    }
    if (run.slot === BEHIND) {
      delete this.slotOf(run).next
      this.place(run, asideOf(run.id))
    } else if (run.slot === STANDS) {
      this.advanceNext(run)
    }
    run.tied = 0
    this.news.ended.push(run.id)
  }

  #dropOlder(run: Run): void {
    const slot = this.slotOf(run)
    if (slot.older !== undefined && slot.older !== run) this.place(slot.older, asideOf(slot.older.id))
    delete slot.older
  }

  count(lane: number, pending: number, running: number): void {
    this.#changes.count(lane, pending, running)
  }

  total(total: Total, count = 1): void {
    this.#changes.total(total, count)
  }

  /** Takes a row out of everybody's way, and says so once. */
  override setAside({ seq, id, reason }: Broken): void {
    const { connection } = this
    const before = connection.statement(BROKEN).get(seq) as
      | { status: number; lane: number; slot: number; hash: number }
      | undefined
    if (before === undefined || before.status === MALFORMED) return
    const lane = connection.laneById(before.lane)
    if (lane !== undefined)
      this.count(lane.id, before.status === PENDING ? -1 : 0, before.status === RUNNING ? -1 : 0)
    connection.statement(SET_ASIDE).run(-seq, lane?.id ?? 0, this.now + KEEP_MALFORMED_MS, seq)
    if (before.slot === STANDS) {
      const behind = this.take(connection.statement(NEXT).all(before.hash) as Row[])
      for (const next of behind) if (keyOf(next.id) === keyOf(id)) this.#stand(next)
    }
    this.malformed.push({ id, reason })
    this.news.trouble.push(`The run ${id} can't be read, and was set aside: ${reason}.`)
  }

  /** Writes everything; what is read after it is read anew. */
  flush(): void {
    const { connection } = this
    this.followUps.admit()
    if (this.#changes.write(connection).length > 0) this.news.opened = true
    this.clear()
  }
}

const BROKEN = 'SELECT status, lane, slot, hash FROM runs WHERE seq = ?'
const NEXT = `SELECT ${FULL_ROW} FROM runs r WHERE r.hash = ? AND r.slot = ${BEHIND}`
const SET_ASIDE = `
  UPDATE runs SET status = ${MALFORMED}, slot = ?, lane = ?, expires_at = ?, token = NULL, lease_until = NULL,
    attended_until = NULL
  WHERE seq = ?`
