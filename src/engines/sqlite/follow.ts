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

interface Ending {
  run: Run
  value: string | undefined
}

interface Following {
  draft: Draft
  parent: Parent | null
}

export class FollowUps {
  readonly #step: FollowedStep
  /** In the order of their effects: a run that has ended, whose follow-ups are still to be looked up, or a draft. */
  readonly #pending: (Ending | Following)[] = []

  constructor(step: FollowedStep) {
    this.#step = step
  }

  /** The run had some when it ended; the value is its result or its last error. */
  ended(run: Run, value: string | undefined): void {
    this.#pending.push({ run, value })
  }

  /** Admitted with this step, unless it has been before. */
  follow(draft: Draft, parent: Parent | null): void {
    this.#pending.push({ draft, parent })
  }

  /** What follows a run that has ended, if it waits for such an end. */
  followIf(follow: FollowUp, run: Run, value: string | undefined): void {
    this.#pending.push(...this.#told(follow, run, value))
  }

  /** Writes nothing by itself. */
  admit(): void {
    if (this.#pending.length === 0) return
    const following = this.#pending.splice(0).flatMap((each) => ('run' in each ? this.#of(each) : each))
    this.#step.load(following.map(({ draft }) => draft.id))
    for (const { draft, parent } of following) {
      if (this.#step.run(draft.id) !== undefined) continue
      this.#step.create(draft, parent)
      this.#step.total('created')
    }
  }

  /** The drafts that follow a run that has ended. */
  #of({ run, value }: Ending): Following[] {
    const { connection, news } = this.#step
    const rows = connection.statement(FOLLOW_UPS).all(run.seq) as { id: string; body: string }[]
    connection.statement(DROP_FOLLOW_UPS).run(run.seq)
    return rows.flatMap(({ id, body }) => {
      try {
        return this.#told(JSON.parse(body) as FollowUp, run, value)
      } catch (error) {
        news.trouble.push(`The follow-up ${id} of the run ${run.id} can't be read, and was dropped: ${error}`)
        return []
      }
    })
  }

  #told({ on, draft, sameParent }: FollowUp, run: Run, value: string | undefined): Following[] {
    if (on !== 'both' && (on === 'success') !== (run.status === COMPLETED)) return []
    return [{ draft, parent: sameParent ? this.#parentOf(run) : parentFrom(run, value) }]
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
}

const FOLLOW_UPS = 'SELECT id, body FROM follow_ups WHERE run = ? ORDER BY seq'
const DROP_FOLLOW_UPS = 'DELETE FROM follow_ups WHERE run = ?'
