// How a schema of a PostgreSQL database becomes a store, and what it is refused for.

import { DeferqError } from '../../base/errors.ts'
import type { PostgresDriver, Query } from '../../drivers/postgres.ts'
import { quoted } from '../../drivers/postgres.ts'
import { statements } from './statements.ts'

/** The layout that this version makes and reads. Layout 1, of deferq 0.1, keeps no order of births, and is refused. */
export const SCHEMA_VERSION = 2
const LEAST_SERVER = 130_000

export interface Migration {
  driver: PostgresDriver
  schema: string
  /** False: a schema without tables is refused. */
  allowed?: boolean
  /** For tests of tests: rewrites the statements before they are used. */
  rewrite?: ((sql: string) => string) | undefined
}

/** Of many processes that open a fresh store at once, one does the work, and the others wait for it. */
export async function migrate(migration: Migration): Promise<void> {
  const { driver, schema, allowed = true, rewrite = (sql) => sql } = migration
  if ((await check(migration, (text, values) => driver.query(text, values, true))) === SCHEMA_VERSION) return
  if (!allowed) {
    throw new DeferqError(
      'STORE_MISMATCH',
      `PostgreSQL at ${driver.where} has no tables of deferq in the schema '${schema}', and migrate is off. ` +
        'Run deferq store migrate (with --print for the SQL), or open the store once with migrate on.',
      { details: { schema } },
    )
  }
  await driver.transaction(async (query) => {
    await query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`deferq ${schema}`])
    const version = await check(migration, query)
    if (version === SCHEMA_VERSION) return
    const [{ there } = {}] = await query(
      'select exists (select from pg_namespace where nspname = $1) as there',
      [schema],
    )
    if (!there) await query(`create schema ${quoted(schema)}`)
    await query(`set local search_path = ${quoted(schema)}, pg_temp`)
    // Only the server's own configuration may have turned it off, and then the rules would not be read as they are meant.
    await query('set local standard_conforming_strings = on')
    await query('create table engine (version integer not null)')
    await query(rewrite(statements(schema)))
    await query('insert into engine values ($1)', [SCHEMA_VERSION])
  }, true)
}

/** The statements that the schema lacks. Carries them out unless `dryRun`, whatever `allowed` says. */
export async function missingStatements(migration: Migration, dryRun: boolean): Promise<string[]> {
  const { driver, schema } = migration
  const version = await check(migration, (text, values) => driver.query(text, values, true))
  if (version === SCHEMA_VERSION) return []
  if (!dryRun) await migrate({ ...migration, allowed: true })
  return [
    `create schema if not exists ${quoted(schema)}`,
    `set search_path = ${quoted(schema)}, pg_temp`,
    'create table engine (version integer not null)',
    statements(schema).trim().replace(/;$/, ''),
    `insert into engine values (${SCHEMA_VERSION})`,
  ]
}

/** 0: there is nothing yet. */
async function check({ driver, schema }: Migration, query: Query): Promise<number> {
  const [about] = await query(
    // Not to_regclass(), which answers from what this session has seen before it waited for the lock.
    `select current_setting('server_version_num')::integer as server, getdatabaseencoding() as encoding,
      exists (
        select from pg_class join pg_namespace n on n.oid = relnamespace where nspname = $1 and relname = 'engine'
      ) as there`,
    [schema],
  )
  const { server, encoding, there } = about as { server: number; encoding: string; there: boolean }
  const refuse = (why: string, details: object): never => {
    throw new DeferqError('STORE_MISMATCH', `PostgreSQL at ${driver.where} ${why}`, {
      details: { schema, ...details },
    })
  }
  if (server < LEAST_SERVER)
    refuse(`is version ${Math.floor(server / 10_000)}: deferq needs 13 or newer.`, { server })
  if (encoding !== 'UTF8')
    refuse(`holds its texts as ${encoding}: deferq needs a database made with encoding UTF8.`, { encoding })
  if (!there) return 0
  const [{ version = 0 } = {}] = (await query(`select version from ${quoted(schema)}.engine`)) as {
    version?: number
  }[]
  if (version > SCHEMA_VERSION) {
    refuse(
      `has a schema '${schema}' made by a newer deferq (version ${version}; this one knows up to ${SCHEMA_VERSION}): ` +
        'upgrade deferq here, or use another schema.',
      { version, known: SCHEMA_VERSION },
    )
  }
  if (version < SCHEMA_VERSION) {
    refuse(
      `has a schema '${schema}' made by deferq 0.1 (layout ${version}), which this version can't read. ` +
        'Let the workers of 0.1 finish what waits there, then use another schema, or drop this one.',
      { version, known: SCHEMA_VERSION },
    )
  }
  return version
}
