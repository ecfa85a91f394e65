// Puts the SQL files together: which files make a store, in which order, and what stands for each `{{name}}` in them.
import { REFRESH_PRIORITY } from '../../contract/engine.ts'
import { abandonedError, leaseLostError, supersededError } from '../../contract/store-errors.ts'
import { quoted } from '../../drivers/postgres.ts'
import { SOURCES } from './sql/generated.ts'

type File = keyof typeof SOURCES

/** The tables come first, then each function after the tables and types that it names. */
const ORDER: readonly File[] = [
  'runs.sql',
  'tables.sql',
  'types.sql',
  'show-run.sql',
  'count-runs.sql',
  'tell.sql',
  'create-run.sql',
  'end-run.sql',
  'join-run.sql',
  'succeed-run.sql',
  'meet.sql',
  'make-lanes.sql',
  'admit.sql',
  'take-in-turns.sql',
  'claim.sql',
  'settle.sql',
  'extend.sql',
  'sweep.sql',
  'tidy.sql',
  'cancel.sql',
  'promote.sql',
  'invalidate.sql',
  'pause.sql',
  'read.sql',
  'list.sql',
  'count.sql',
]

// Plans must not depend on statistics of an empty store: the first hour would be read row by row.
const PLANS = `set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off
  set enable_mergejoin = off set enable_bitmapscan = off set enable_material = off set jit = off set lock_timeout = '4s'`

/**
 * The statements that make a store in this schema. A file names a value as `{{name}}`:
 *
 * | name               | value                                                              |
 * |--------------------|--------------------------------------------------------------------|
 * | `settings`         | the settings of a function that the library calls: plans and schema |
 * | `superseded`       | the error of a replaced run, with `@A`, `@T` and `@B` to fill in    |
 * | `abandoned`        | the error of a run that was not asked for, with `@A` and `@T`       |
 * | `refresh_priority` | the highest priority of a refresh                                  |
 * | `columns`, `insert_alike`, `insert_asked` | the file of that name, with `-` for `_`     |
 */
export function statements(schema: string): string {
  const values: Readonly<Record<string, string>> = {
    // Functions look up names in this schema alone, whatever search path the session of the caller has.
    settings: `${PLANS} set search_path = ${quoted(schema)}, pg_temp`,
    superseded: templated(supersededError(ATTEMPT, TIME, '@B')),
    abandoned: templated(abandonedError(ATTEMPT, TIME)),
    refresh_priority: String(REFRESH_PRIORITY),
    columns: SOURCES['columns.sql'],
    insert_alike: SOURCES['insert-alike.sql'],
    insert_asked: SOURCES['insert-asked.sql'],
  }
  const filled = (text: string): string =>
    text.replace(/\{\{(\w+)\}\}/g, (place, name: string) => {
      const value = values[name]
      if (value === undefined)
        throw new Error(`statements: ${place} has no value. Add it to the table of values.`)
      return filled(value)
    })
  return ORDER.map((file) => filled(SOURCES[file])).join('\n')
}

// Numbers that stand for themselves mark where the server fills in its own.
const ATTEMPT = -111_111
const TIME = -222_222

/** The error of a lost lease, with `@A` for the attempt and `@T` for the time. */
export const LOST_LEASE = templated(leaseLostError(ATTEMPT, TIME))

function templated(error: string): string {
  return error.replaceAll(String(ATTEMPT), '@A').replaceAll(String(TIME), '@T')
}
