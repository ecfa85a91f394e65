// A connection to the file that remembers its lanes.
import { existsSync } from 'node:fs'
import type { Database, Driver } from '../../drivers/sqlite.ts'
import { loadDriver } from '../../drivers/sqlite.ts'
import { SqliteConnection } from '../../drivers/sqlite-connection.ts'
import type { Settings } from '../../drivers/sqlite-settings.ts'
import { MEMORY } from '../../drivers/sqlite-settings.ts'
import type { Lane } from './rows.ts'
import { ALL_STEPS, migrate, missingSteps, needsMigration } from './schema.ts'

/** A lane that was remembered here is gone from the file: the whole step is done again, with nothing remembered. */
export class StaleLane extends Error {}

/** The statements that the file lacks, one by one. Carries them out unless `dryRun`, whatever `migrate` says in the settings. */
export async function missingStatements(settings: Settings, dryRun: boolean): Promise<string[]> {
  const { file } = settings
  if (file === MEMORY) return []
  const Driver = await loadDriver()
  const missing = existsSync(file)
    ? readMissing(new Driver(file, { readOnly: true }), file)
    : statementsOf(ALL_STEPS)
  if (missing.length > 0 && !dryRun) (await Connection.open({ ...settings, migrate: true }, Driver)).close()
  return missing
}

function readMissing(db: Database, file: string): string[] {
  try {
    return statementsOf(missingSteps(db, file))
  } finally {
    db.close()
  }
}

/** No statement of a step has a semicolon within. */
const statementsOf = (steps: readonly string[]): string[] =>
  steps.flatMap((step) => step.split(';').map((statement) => statement.trim())).filter((text) => text !== '')

export class Connection extends SqliteConnection {
  readonly #lanes = new Map<string, Lane>()
  readonly #lanesById = new Map<number, Lane>()

  static async open(settings: Settings, Driver: Driver): Promise<Connection> {
    const connection = new Connection(settings, Driver)
    await connection.prepare({ needsMigration, migrate })
    return connection
  }

  /** Made when it isn't there: only within `write`. */
  lane(queue: string, name: string, priority: number, group?: string): Lane {
    const key = `${priority}\0${name}\0${queue}${group === undefined ? '' : `\0${group}`}`
    let lane = this.#lanes.get(key)
    if (lane !== undefined) return lane
    const grouping = group === undefined ? 0 : this.#grouping(name, group)
    const { id } = (this.statement(FIND_LANE).get(name, queue, priority, grouping) ??
      this.statement(ADD_LANE).get(name, queue, priority, grouping)) as { id: number }
    lane = { id, queue, name, priority, grouping, ...(group === undefined ? {} : { group }) }
    this.#lanes.set(key, lane)
    this.#lanesById.set(id, lane)
    return lane
  }

  laneById(id: number): Lane | undefined {
    const known = this.#lanesById.get(id)
    if (known !== undefined) return known
    if (!Number.isSafeInteger(id) || id <= 0) return undefined
    const row = this.statement(LANE_BY_ID).get(id) as (Lane & { label: string | null }) | undefined
    if (row === undefined) return undefined
    const { queue, name, priority, grouping, label } = row
    const lane = { id, queue, name, priority, grouping, ...(label === null ? {} : { group: label }) }
    this.#lanesById.set(id, lane)
    return lane
  }

  #grouping(name: string, group: string): number {
    const { id } = (this.statement(FIND_GROUP).get(name, group) ??
      this.statement(ADD_GROUP).get(name, group)) as { id: number }
    return id
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

const FIND_LANE = 'SELECT id FROM lanes WHERE name = ? AND queue = ? AND priority = ? AND grouping = ?'
const ADD_LANE = 'INSERT INTO lanes (name, queue, priority, grouping) VALUES (?, ?, ?, ?) RETURNING id'
const LANE_BY_ID = `
  SELECT l.queue, l.name, l.priority, l.grouping, g.label FROM lanes l LEFT JOIN groups g ON g.id = l.grouping
  WHERE l.id = ?`
const FIND_GROUP = 'SELECT id FROM groups WHERE name = ? AND label = ?'
const ADD_GROUP = 'INSERT INTO groups (name, label) VALUES (?, ?) RETURNING id'
