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
  lane(queue: string, name: string, priority: number, group?: string): Lane {
    const key =
      group === undefined ? `${priority}\0${name}\0${queue}` : `${priority}\0${name}\0${queue}\0${group}`
    let lane = this.#lanes.get(key)
    if (lane !== undefined) return lane
    const columns = [name, queue, priority, columnOf(group)] as const
    const { id } = (this.statement(FIND_LANE).get(...columns) ??
      this.statement(ADD_LANE).get(...columns)) as {
      id: number
    }
    lane = { id, queue, name, priority, group }
    this.#lanes.set(key, lane)
    this.#lanesById.set(id, lane)
    return lane
  }

  laneById(id: number): Lane | undefined {
    const known = this.#lanesById.get(id)
    if (known !== undefined) return known
    const row =
      Number.isSafeInteger(id) && id > 0
        ? (this.statement(LANE_BY_ID).get(id) as (Omit<Lane, 'group'> & { grp: string }) | undefined)
        : undefined
    if (row === undefined) return undefined
    const { grp, ...rest } = row
    const lane = { ...rest, group: groupIn(grp) }
    this.#lanesById.set(id, lane)
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

/** No group is the empty text; a group, which may be empty too, has a colon before it. */
export const columnOf = (group: string | undefined): string => (group === undefined ? '' : `:${group}`)
export const groupIn = (column: string): string | undefined => (column === '' ? undefined : column.slice(1))

const FIND_LANE = 'SELECT id FROM lanes WHERE name = ? AND queue = ? AND priority = ? AND grp = ?'
const ADD_LANE = 'INSERT INTO lanes (name, queue, priority, grp) VALUES (?, ?, ?, ?) RETURNING id'
const LANE_BY_ID = 'SELECT id, queue, name, priority, grp FROM lanes WHERE id = ?'
