// What follows the runs that end in a step: looked up, told how they ended, and admitted with it.

import type { Draft, FollowUp, Parent, Total } from '../../contract/engine.ts'
import type { Connection } from './connection.ts'
import type { Run } from './rows.ts'
import { COMPLETED, parentFrom } from './rows.ts'

/** The parts of an atomic step that follow-ups use. */
export interface FollowedStep {
  readonly connection: Connection
  readonly news: { trouble: string[] }
  load(ids: readonly string[]): void
  run(id: string): Run | undefined
  create(draft: Draft, parent: Parent | null): Run
  total(total: Total): void
}

export class FollowUps {
  readonly #step: FollowedStep
  readonly #ending: { run: Run; value: string | undefined }[] = []
  readonly #following: { draft: Draft; parent: Parent | null }[] = []

  constructor(step: FollowedStep) {
    this.#step = step
  }

  /** The run had some when it ended; the value is its result or its last error. */
  ended(run: Run, value: string | undefined): void {
    this.#ending.push({ run, value })
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
    const { parent } = this.#step.connection
      .statement('SELECT parent FROM runs WHERE seq = ?')
      .get(run.seq) as {
      parent: string | null
    }
    return parent === null ? null : (JSON.parse(parent) as Parent)
  }

  /** Writes nothing by itself. */
  admit(): void {
    const { connection, news } = this.#step
    for (const { run, value } of this.#ending.splice(0)) {
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
    const following = this.#following.splice(0)
    if (following.length === 0) return
    this.#step.load(following.map(({ draft }) => draft.id))
    for (const { draft, parent } of following) {
      if (this.#step.run(draft.id) !== undefined) continue
      this.#step.create(draft, parent)
      this.#step.total('created')
    }
  }
}

const FOLLOW_UPS = 'SELECT id, body FROM follow_ups WHERE run = ? ORDER BY seq'
const DROP_FOLLOW_UPS = 'DELETE FROM follow_ups WHERE run = ?'
