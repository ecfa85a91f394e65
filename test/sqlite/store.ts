// What the SQLite tests share: a folder of their own, drafts, raw access to the file, and the scan for what must not be.
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { Draft, Policy } from '../../src/contract/engine.ts'
import type { Database } from '../../src/drivers/sqlite.ts'
import { loadDriver } from '../../src/drivers/sqlite.ts'
import type { SqliteOptions } from '../../src/engines/sqlite/index.ts'
import { SqliteEngine } from '../../src/engines/sqlite/index.ts'

export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'deferq-sqlite-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

export const newFile = (): string => join(folder(), 'store.db')

export async function engineOn(file: string, options: Partial<SqliteOptions> = {}): Promise<SqliteEngine> {
  const engine = new SqliteEngine({ file, ...options })
  onTestFinished(() => engine.close())
  await engine.open()
  return engine
}

export async function raw(file: string): Promise<Database> {
  const Driver = await loadDriver()
  const db = new Driver(file, { enableForeignKeyConstraints: false })
  onTestFinished(() => {
    try {
      db.close()
    } catch {
      // The test has closed it.
    }
  })
  return db
}

export const POLICY: Policy = {
  maxAttempts: 3,
  resultTtlMs: 600_000,
  staleTtlMs: 0,
  failureTtlMs: 0,
  retentionMs: 600_000,
}

export const keyFor = (text: string): string => createHash('sha256').update(text).digest('hex')
export const newId = (key = keyFor(randomBytes(8).toString('hex'))): string =>
  key + randomBytes(12).toString('hex')

export function draft(more: Partial<Draft> = {}): Draft {
  return {
    id: newId(),
    name: 'job',
    queue: 'default',
    params: '{}',
    priority: 0,
    delayMs: 0,
    policy: POLICY,
    ...more,
  }
}

/** Everything that must not be in a store, as text; empty is well. */
export function violations(db: Database): string[] {
  const found = (what: string, sql: string): string[] =>
    db
      .prepare(sql)
      .all()
      .map((row) => `${what}: ${JSON.stringify(row)}`)
  return [
    ...found('integrity', "SELECT * FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
    ...found(
      'two runs stand under one key',
      'SELECT substr(id, 1, 64) AS key FROM runs WHERE slot = 0 GROUP BY 1 HAVING count(*) > 1',
    ),
    ...found(
      'two accepted results',
      'SELECT substr(id, 1, 64) AS key FROM runs WHERE slot = 1 GROUP BY 1 HAVING count(*) > 1',
    ),
    ...found('an id twice', 'SELECT id FROM runs GROUP BY id HAVING count(*) > 1'),
    ...found('an older result that is none', 'SELECT id, status FROM runs WHERE slot = 1 AND status <> 2'),
    ...found('a pending run aside', 'SELECT id FROM runs WHERE status = 0 AND slot = 1'),
    ...found(
      'what waits behind is not pending',
      'SELECT id, status FROM runs WHERE slot = 2 AND status <> 0',
    ),
    ...found(
      'behind nothing that lives',
      `SELECT id FROM runs n WHERE slot = 2 AND NOT EXISTS (
         SELECT 1 FROM runs r WHERE r.hash = n.hash AND r.slot = 0 AND r.status < 2 AND substr(r.id, 1, 64) = substr(n.id, 1, 64)
       )`,
    ),
    ...found(
      'an end that somebody attends',
      'SELECT id FROM runs WHERE status >= 2 AND attended_until IS NOT NULL',
    ),
    ...found(
      'a lane of a group that is not there',
      'SELECT id FROM lanes WHERE grouping > 0 AND grouping NOT IN (SELECT id FROM groups)',
    ),
    ...found(
      'running with no lease',
      'SELECT id FROM runs WHERE status = 1 AND (token IS NULL OR lease_until IS NULL)',
    ),
    ...found('completed with no result', 'SELECT id FROM runs WHERE status = 2 AND result IS NULL'),
    ...found(
      'a lane that is not there',
      'SELECT id, lane FROM runs WHERE lane NOT IN (SELECT id FROM lanes)',
    ),
    ...found(
      'a follow-up of nothing that lives',
      'SELECT id FROM follow_ups WHERE run NOT IN (SELECT seq FROM runs WHERE status < 2)',
    ),
    ...found(
      'a counter that is wrong',
      `SELECT l.*, p.n AS pending_rows, p.m AS running_rows FROM lanes l LEFT JOIN (
         SELECT lane, sum(status = 0) AS n, sum(status = 1) AS m FROM runs GROUP BY lane
       ) p ON p.lane = l.id
       WHERE l.pending <> coalesce(p.n, 0) OR l.running <> coalesce(p.m, 0)`,
    ),
  ]
}

export interface Child {
  process: ChildProcess
  /** The lines it has written, each a JSON record. */
  lines: Record<string, unknown>[]
  /** Rejects with what it wrote to stderr when it fails. */
  ended: Promise<Record<string, unknown>[]>
  line(which: string): Promise<Record<string, unknown>>
}

/** A process of its own over the file; tsx, because Node 20 can't read TypeScript. */
export function child(role: string, file: string, ...more: (string | number)[]): Child {
  const script = fileURLToPath(new URL('./fixtures/process.ts', import.meta.url))
  const started = spawn(process.execPath, ['--import', 'tsx', script, role, file, ...more.map(String)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => {
    started.kill('SIGKILL')
  })
  const lines: Record<string, unknown>[] = []
  const heard: (() => void)[] = []
  let [out, trouble] = ['', '']
  started.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (out + text).split('\n')
    out = parts.pop() ?? ''
    for (const part of parts) lines.push(JSON.parse(part) as Record<string, unknown>)
    for (const hear of heard) hear()
  })
  started.stderr.setEncoding('utf8').on('data', (text: string) => (trouble += text))
  const ended = new Promise<Record<string, unknown>[]>((resolve, reject) => {
    started.once('close', (code, signal) => {
      for (const hear of heard) hear()
      if (code === 0) resolve(lines)
      else reject(new Error(`${role} ended with ${code ?? signal}: ${trouble}`))
    })
  })
  ended.catch(() => undefined)
  const line = (which: string): Promise<Record<string, unknown>> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const found = lines.find((each) => which in each)
        if (found !== undefined) resolve(found)
      }
      heard.push(look)
      ended.then(() => reject(new Error(`${role} ended and said nothing of ${which}`)), reject)
      look()
    })
  return { process: started, lines, ended, line }
}
