// A connection to the file that remembers its lanes.
import type { Driver } from '../../drivers/sqlite.ts'
import { SqliteConnection } from '../../drivers/sqlite-connection.ts'
import type { Settings } from '../../drivers/sqlite-settings.ts'
import type { Lane } from './rows.ts'
import { migrate, needsMigration } from './schema.ts'

/** A lane that was remembered here is gone from the file: the whole step is done again, with nothing remembered. */
export class StaleLane extends Error {}

export class Connection extends SqliteConnection {
  readonly #lanes = new Map<string, Lane>()
  readonly #lanesById = new Map<number, Lane | undefined>()

  static async open(settings: Settings, Driver: Driver): Promise<Connection> {
    const connection = new Connection(settings, Driver)
    await connection.prepare({ needsMigration, migrate })
    return connection
  }

  /** Made when it isn't there: only within `write`. */
  lane(queue: string, name: string, priority: number): Lane {
    const key = `${priority}\0${name}\0${queue}`
    let lane = this.#lanes.get(key)
    if (lane !== undefined) return lane
    const { id } = (this.statement(FIND_LANE).get(name, queue, priority) ??
      this.statement(ADD_LANE).get(name, queue, priority)) as { id: number }
    lane = { id, queue, name, priority }
    this.#lanes.set(key, lane)
    this.#lanesById.set(id, lane)
    return lane
  }

  laneById(id: number): Lane | undefined {
    const known = this.#lanesById.get(id)
    if (known !== undefined) return known
    const lane =
      Number.isSafeInteger(id) && id > 0
        ? (this.statement(LANE_BY_ID).get(id) as Lane | undefined)
        : undefined
    if (lane !== undefined) this.#lanesById.set(id, lane)
    return lane
  }

  protected override rolledBack(): void {
    // A lane that was made in this transaction is gone with it.
    this.#lanes.clear()
    this.#lanesById.clear()
  }

  protected override isStale(error: unknown): boolean {
    return error instanceof StaleLane
  }
}

const FIND_LANE = 'SELECT id FROM lanes WHERE name = ? AND queue = ? AND priority = ?'
const ADD_LANE = 'INSERT INTO lanes (name, queue, priority) VALUES (?, ?, ?) RETURNING id'
const LANE_BY_ID = 'SELECT id, queue, name, priority FROM lanes WHERE id = ?'
