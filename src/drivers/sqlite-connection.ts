// One connection to a SQLite file: opening, transactions that wait their turn without blocking, statements.

import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import { sleep } from '../base/time.ts'
import type { Database, Driver, Statement } from './sqlite.ts'
import { explain, isBusy } from './sqlite-faults.ts'
import type { Settings } from './sqlite-settings.ts'
import { MEMORY } from './sqlite-settings.ts'

// SQLite's own waiting blocks the event loop, so it gets 4 ms, which outlast most batches of another process; after
// that the call sleeps and comes back. The jitter keeps processes from meeting again and again.
const BLOCKING_MS = 4
const MAX_PAUSE_MS = 20
// 8 MB: at 1,000 pages (the default) random keys made checkpoints a sixth of the cost of inserts.
const CHECKPOINT_PAGES = 2_000
/** Above this the sweep asks for the log to be emptied; readers may have kept it from being begun anew. */
const LARGE_LOG_BYTES = 32_000_000
const CACHE_KIB = 16_000

/** 'dfrq': tells our files from those of other programs. */
export const APPLICATION_ID = 0x64667271

/** The tables that somebody needs in the file. */
export interface Schema {
  /** Throws where the file is somebody else's. */
  needsMigration(db: Database, file: string): boolean
  /** Within a transaction that holds the write lock. */
  migrate(db: Database, file: string): void
}

export class SqliteConnection {
  readonly file: string
  readonly #settings: Settings
  readonly #db: Database
  readonly #statements = new Map<string, Statement>()
  #closed = false

  constructor(settings: Settings, Driver: Driver) {
    const { file } = settings
    this.file = file
    this.#settings = settings
    try {
      if (file !== MEMORY) mkdirSync(dirname(file), { recursive: true })
      this.#db = new Driver(file, { enableForeignKeyConstraints: false })
    } catch (cause) {
      const found = explain(cause, file)
      if (found !== cause) throw found
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new DeferqError('STORE_UNAVAILABLE', `The SQLite store ${file} can't be opened: ${why}.`, {
        cause,
      })
    }
  }

  /** Before anything else. Closes the connection where it fails. */
  async prepare(schema: Schema): Promise<void> {
    try {
      await this.#prepareFile(schema)
    } catch (error) {
      this.close()
      throw error
    }
  }

  async #prepareFile({ needsMigration, migrate }: Schema): Promise<void> {
    const db = this.#db
    db.exec(`PRAGMA busy_timeout = ${BLOCKING_MS}`)
    // Looked at before anything is written, so that nobody else's file is turned into one of ours.
    const fresh = await this.#whenFree(() => needsMigration(db, this.file))
    if (fresh && !this.#settings.migrate) {
      throw new DeferqError(
        'STORE_MISMATCH',
        `The SQLite store ${this.file} lacks the tables of this version, and migrate is off. Open it once with migrate on.`,
        { details: { file: this.file } },
      )
    }
    const { journal_mode: mode } = await this.#whenFree(
      () => db.prepare('PRAGMA journal_mode = WAL').get() as { journal_mode: string },
    )
    if (mode !== 'wal' && mode !== 'memory') {
      throw new DeferqError(
        'STORE_UNAVAILABLE',
        `The SQLite store ${this.file} can't have a write-ahead log here (journal mode ${mode}): put it on a local disk.`,
      )
    }
    db.exec(
      `PRAGMA synchronous = ${this.#settings.synchronous}; PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}; ` +
        `PRAGMA journal_size_limit = ${LARGE_LOG_BYTES}; PRAGMA cache_size = -${CACHE_KIB}; PRAGMA temp_store = MEMORY`,
    )
    if (fresh) await this.write(() => migrate(db, this.file))
  }

  /**
   * One transaction, begun with the write lock: it can't find out half-way that another was faster. `work` may be
   * called again, and nothing else of this process runs between BEGIN and COMMIT.
   */
  write<T>(work: () => T): Promise<T> {
    return this.#whenFree(() => {
      this.#begin()
      try {
        const result = work()
        this.statement('COMMIT').run()
        return result
      } catch (error) {
        this.#rollBack()
        throw error
      }
    })
  }

  /** Reading waits for nobody, save for a moment while another process recovers or resets the log. */
  read<T>(work: () => T): Promise<T> {
    return this.#whenFree(work)
  }

  statement(sql: string): Statement {
    let statement = this.#statements.get(sql)
    if (statement === undefined) this.#statements.set(sql, (statement = this.#db.prepare(sql)))
    return statement
  }

  /** Changes when another connection has committed; 2 µs. */
  dataVersion(): number {
    return (this.statement('PRAGMA data_version').get() as { data_version: number }).data_version
  }

  /** Keeps the write-ahead log bounded. Best effort: while somebody reads, the next sweep tries again. */
  trimLog(atLeast = LARGE_LOG_BYTES): void {
    if (this.file === MEMORY) return
    try {
      if (statSync(`${this.file}-wal`).size > atLeast) this.statement('PRAGMA wal_checkpoint(TRUNCATE)').get()
    } catch {
      // The log may have been removed, or be in use: neither is anybody's trouble.
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    // The peer keeps the file open until its statements are collected as garbage: then the log would outlive us.
    this.trimLog(0)
    this.#statements.clear()
    this.#db.close()
  }

  /** What was remembered of the transaction has to be forgotten. */
  protected rolledBack(): void {}

  /** Whether the step failed only because of something remembered that is no longer so: then it is done again. */
  protected isStale(_error: unknown): boolean {
    return false
  }

  /** A transaction that could not be rolled back when it failed must not fail every one after it. */
  #begin(): void {
    try {
      this.statement('BEGIN IMMEDIATE').run()
    } catch (error) {
      if (!(error instanceof Error) || !error.message.includes('within a transaction')) throw error
      this.statement('ROLLBACK').run()
      this.statement('BEGIN IMMEDIATE').run()
    }
  }

  #rollBack(): void {
    this.rolledBack()
    try {
      this.statement('ROLLBACK').run()
    } catch {
      // A full disk or a failed write has rolled back already.
    }
  }

  async #whenFree<T>(work: () => T): Promise<T> {
    const end = environment.monotonic() + this.#settings.busyTimeoutMs
    for (let pause = 1; ; pause = Math.min(pause * 2, MAX_PAUSE_MS)) {
      if (this.#closed)
        throw new DeferqError('CLOSED', 'This SQLite database was closed while a call was waiting.')
      try {
        return work()
      } catch (error) {
        const again = isBusy(error) || this.isStale(error)
        if (!again || environment.monotonic() >= end) throw explain(error, this.file)
      }
      await sleep(pause * (0.5 + environment.random()))
    }
  }
}
