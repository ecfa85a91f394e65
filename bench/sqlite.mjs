// A table of tasks by hand: what prepared statements alone cost, for SQLite to be compared with.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { paramsOf } from './contenders.mjs'

export const BATCH = 100

/** With the journal and the durability that deferq asks of its file. */
export async function openTable() {
  const { DatabaseSync: Database } =
    process.getBuiltinModule('node:sqlite') ?? (await import('@photostructure/sqlite'))
  const folder = mkdtempSync(join(tmpdir(), 'deferq-floor-'))
  const db = new Database(join(folder, 'floor.db'), {})
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
  db.exec(
    'CREATE TABLE tasks (id TEXT PRIMARY KEY, name TEXT, params TEXT, status INTEGER, result TEXT) STRICT',
  )
  const insert = db.prepare('INSERT INTO tasks VALUES (?, ?, ?, 0, NULL)')
  const update = db.prepare('UPDATE tasks SET status = 2, result = ? WHERE id = ?')
  const inBatches = (count, each) => {
    for (let from = 0; from < count; from += BATCH) {
      db.exec('BEGIN IMMEDIATE')
      for (let index = from; index < Math.min(count, from + BATCH); index++) each(index)
      db.exec('COMMIT')
    }
  }
  return {
    insert: (count) =>
      inBatches(count, (index) =>
        insert.run(`id${index}`, 'report.generate', JSON.stringify(paramsOf(index))),
      ),
    update: (count) => inBatches(count, (index) => update.run('null', `id${index}`)),
    close() {
      db.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
