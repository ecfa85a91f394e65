// The conformance suite over the SQLite engine: one file, and a connection of its own for each engine.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'vitest'
import type { Factory } from '../../src/conformance/index.ts'
import { conformance } from '../../src/conformance/index.ts'
import { loadDriver } from '../../src/drivers/sqlite.ts'
import { SqliteEngine } from '../../src/engines/sqlite/index.ts'

const sqlite: Factory = {
  name: 'sqlite',
  async create() {
    const folder = mkdtempSync(join(tmpdir(), 'deferq-sqlite-'))
    const file = join(folder, 'store.db')
    let now = 1_750_000_000_000
    return {
      unitMs: 1_000,
      async connect() {
        const engine = new SqliteEngine({ file, now: () => now })
        await engine.open()
        return engine
      },
      advance: async (ms) => {
        now += ms
      },
      async corrupt(id) {
        const Database = await loadDriver()
        const db = new Database(file, { enableForeignKeyConstraints: false })
        db.prepare("UPDATE runs SET errors = '[' WHERE id = ?").run(id)
        db.close()
      },
      close: async () => rmSync(folder, { recursive: true, force: true }),
    }
  },
}

for (const { name, run } of conformance(sqlite)) test(name, run)
