// What follows runs: kept with each until it ends, and admitted in the same step.
import type { Draft, FollowUp, Parent } from '../../engine.ts'
import type { Run } from './rows.ts'
import { COMPLETED, HAS_FOLLOW_UPS, parentFrom } from './rows.ts'
import type { Step } from './step.ts'
import { addFollowUp } from './write.ts'

export class FollowUps {
  readonly #step: Step
  /** Not written yet. */
  #added: { run: Run; follow: FollowUp }[] = []
  #ended: { run: Run; value: string | undefined }[] = []
  #due: { draft: Draft; parent: Parent | null }[] = []

  constructor(step: Step) {
    this.#step = step
  }

  add(run: Run, then: readonly FollowUp[] = []): void {
    if (then.length === 0) return
    run.tied |= HAS_FOLLOW_UPS
    for (const follow of then) this.#added.push({ run, follow })
    this.#step.changed(run)
  }

  /** `value`: its result or its last error. */
  ended(run: Run, value: string | undefined): void {
    this.#ended.push({ run, value })
  }

  /** Admitted with this step, unless it has been before. */
  follow(draft: Draft, parent: Parent | null): void {
    this.#due.push({ draft, parent })
  }

  /** What follows a run that has ended, if it waits for such an end. */
  followIf(follow: FollowUp, run: Run, value: string | undefined): void {
    if (follow.on !== 'both' && (follow.on === 'success') !== (run.status === COMPLETED)) return
    this.follow(follow.draft, follow.sameParent ? this.#parentOf(run) : parentFrom(run, value))
  }

  /** Before anything of the step is written. */
  admit(): void {
    for (const { run, value } of this.#ended.splice(0)) this.#admitAfter(run, value)
    const due = this.#due.splice(0)
    if (due.length === 0) return
    const step = this.#step
    step.load(due.map(({ draft }) => draft.id))
    for (const { draft, parent } of due) {
      if (step.run(draft.id) !== undefined) continue
      step.create(draft, parent)
      step.total('created')
    }
  }

  write(): void {
    for (const { run, follow } of this.#added) addFollowUp(this.#step.connection, run, follow)
    this.#added = []
  }

  #admitAfter(run: Run, value: string | undefined): void {
    const { connection, news } = this.#step
    if (run.seq !== 0) {
      const rows = connection.statement(FOLLOW_UPS).all(run.seq) as { id: string; body: string }[]
      for (const { id, body } of rows) {
        try {
          this.followIf(JSON.parse(body) as FollowUp, run, value)
        } catch (error) {
          news.trouble.push(
            `The follow-up ${id} of the run ${run.id} can't be read, and was dropped: ${error}`,
          )
        }
      }
      connection.statement(DROP_FOLLOW_UPS).run(run.seq)
    }
    // Added and ended within one step: a draft of the same batch has superseded the run.
    const own = this.#added.filter((each) => each.run === run)
    if (own.length === 0) return
    for (const { follow } of own) this.followIf(follow, run, value)
    this.#added = this.#added.filter((each) => each.run !== run)
  }

  #parentOf(run: Run): Parent | null {
    if (run.parent !== undefined) return run.parent
    const { parent } = this.#step.connection
      .statement('SELECT parent FROM runs WHERE seq = ?')
      .get(run.seq) as { parent: string | null }
    return parent === null ? null : (JSON.parse(parent) as Parent)
  }
}

const FOLLOW_UPS = 'SELECT id, body FROM follow_ups WHERE run = ? ORDER BY seq'
const DROP_FOLLOW_UPS = 'DELETE FROM follow_ups WHERE run = ?'
