// Finds SQLite: Node's own where it has one, else the optional peer with the same API.
import { createRequire } from 'node:module'
import { DeferqError } from '../base/errors.ts'

export type Value = string | number | null | Uint8Array

/** Text for `CAST(? AS TEXT)`: both drivers cut text off at a NUL on its way in, but bytes they take as they are. */
export function textValue(text: string | null): Value {
  return text?.includes('\0') ? Buffer.from(text) : text
}

/** The part of `node:sqlite` that is used here; both drivers have it. */
export interface Statement {
  run(...values: Value[]): { changes: number | bigint; lastInsertRowid: number | bigint }
  get(...values: Value[]): unknown
  all(...values: Value[]): unknown[]
}

export interface Database {
  exec(sql: string): void
  prepare(sql: string): Statement
  close(): void
}

export type Driver = new (
  file: string,
  options: { enableForeignKeyConstraints?: boolean; readOnly?: boolean },
) => Database

export async function loadDriver(): Promise<Driver> {
  const own = builtIn()
  if (own !== undefined) return own
  try {
    const peer = await import('@photostructure/sqlite')
    return peer.DatabaseSync as unknown as Driver
  } catch (error) {
    throw new DeferqError('MISSING_DEPENDENCY', missing(), { cause: error })
  }
}

// The builtin is fetched in one synchronous step, so that its ExperimentalWarning (Node 22 to 24) is the only one
// that can pass by while warnings are looked at: an `import()` would leave that window open for everybody's.
function builtIn(): Driver | undefined {
  const { emitWarning } = process
  process.emitWarning = ((warning: string | Error, ...more: unknown[]) => {
    if (!String(warning).startsWith('SQLite is an experimental')) {
      Reflect.apply(emitWarning, process, [warning, ...more])
    }
  }) as typeof emitWarning
  try {
    const found = process.getBuiltinModule('node:sqlite') as { DatabaseSync: unknown } | undefined
    return found?.DatabaseSync as Driver | undefined
  } finally {
    process.emitWarning = emitWarning
  }
}

function missing(): string {
  let there = true
  try {
    createRequire(import.meta.url).resolve('@photostructure/sqlite/package.json')
  } catch {
    there = false
  }
  const why = there ? 'could not be loaded (see the cause)' : 'is not installed'
  return (
    `SQLite is missing: Node ${process.versions.node} has no node:sqlite, and @photostructure/sqlite ${why}. ` +
    'Run `npm install @photostructure/sqlite@1`, or use Node 22.13 or newer.'
  )
}
