// Maintenance of the SQLite engine: shows a run as its rows say, finds contradictions between rows, and repairs them.
import type { Inspection, Maintenance, MigrateOptions, Problem, ScanPage } from '../../contract/engine.ts'
import { checkBatch, MAX_BATCH } from '../../contract/engine.ts'
import { shownToken } from '../../contract/maintenance.ts'
import type { Connection } from './connection.ts'
import { repair } from './maintenance-repair.ts'
import { problemsOf, problemsOfStore, storedRun } from './maintenance-scan.ts'
import { readRuns } from './overview.ts'
import type { Run } from './rows.ts'
import { ACCEPTED, BEHIND, COMPLETED, entryOf, isLive, keyOf, PENDING, RUNNING, STANDS } from './rows.ts'
import type { Step } from './step.ts'

/** The parts of the engine that its maintenance uses. */
export interface Reach {
  open(): Promise<Connection>
  /** One transaction of the rules over the file, and then its news. */
  step<T>(work: (step: Step) => T): Promise<T>
  /** The statements that the file lacks; carries them out unless `dryRun`. */
  migrate(dryRun: boolean): Promise<string[]>
}

export class SqliteMaintenance implements Maintenance {
  readonly #reach: Reach

  constructor(reach: Reach) {
    this.#reach = reach
  }

  async inspect(idOrKey: string): Promise<Inspection | undefined> {
    const connection = await this.#reach.open()
    return connection.read(() => {
      const { runs, broken } = readRuns(connection, [idOrKey])
      const run =
        runs.find(({ id }) => id === idOrKey) ??
        runs.find(({ id, slot }) => keyOf(id) === idOrKey && slot === STANDS) ??
        runs.find(({ id, slot }) => keyOf(id) === idOrKey && slot === ACCEPTED)
      if (run !== undefined) return inspectionOf(connection, run)
      const unreadable = broken.find(({ id }) => id === idOrKey || keyOf(id) === idOrKey)
      if (unreadable === undefined) return undefined
      const { seq, id, reason } = unreadable
      const problem: Problem = { kind: 'unreadable', id, where: `runs seq ${seq}`, detail: reason }
      return { id, place: 'aside', fields: {}, beside: [], raw: rawOf(connection, seq), problems: [problem] }
    })
  }

  async scan(limit: number, cursor?: string): Promise<ScanPage> {
    const connection = await this.#reach.open()
    const most = Math.min(Math.max(Math.trunc(limit), 1), MAX_BATCH)
    const after = cursor === undefined ? 0 : Number(cursor)
    const first = await connection.read(() => look(connection, after, most))
    if (first.problems.length === 0) return first
    // Two statements are two moments: what is really there is seen again.
    const again = await connection.read(() => look(connection, after, most))
    const seen = new Set(again.problems.map(nameOf))
    return { ...first, problems: first.problems.filter((problem) => seen.has(nameOf(problem))) }
  }

  async repair(problems: readonly Problem[]): Promise<boolean[]> {
    checkBatch(problems, 'repair')
    return this.#reach.step((step) => problems.map((problem) => repair(step, problem)))
  }

  migrate({ dryRun = false }: MigrateOptions = {}): Promise<string[]> {
    return this.#reach.migrate(dryRun)
  }

  async purge(ids: readonly string[]): Promise<boolean[]> {
    checkBatch(ids, 'purge')
    return this.#reach.step((step) => ids.map((id) => purge(step, id)))
  }
}

export const nameOf = ({ kind, id, where }: Problem): string => JSON.stringify([kind, id, where])

function look(connection: Connection, after: number, most: number): ScanPage {
  const problems = after === 0 ? problemsOfStore(connection) : []
  const rows = connection.statement(PAGE).all(after, most) as { seq: number }[]
  for (const { seq } of rows) problems.push(...problemsOf(connection, storedRun(connection, seq)))
  const last = rows.at(-1)?.seq
  const page = { problems, looked: rows.length }
  return rows.length < most || last === undefined ? page : { ...page, cursor: String(last) }
}

function inspectionOf(connection: Connection, run: Run): Inspection {
  const { id, slot, seq, lane } = run
  const beside: Inspection['beside'][number][] = []
  if (run.status === PENDING && slot !== BEHIND) {
    const value = { queue: lane.queue, name: lane.name, priority: lane.priority, dueAt: run.dueAt }
    const of = lane.group === undefined ? value : { ...value, group: lane.group }
    beside.push({ where: 'index runs_pending', what: 'ticket', value: of })
  }
  if (run.status === RUNNING)
    beside.push({ where: 'index runs_running', what: 'lease', value: { until: run.leaseUntil } })
  if (run.status === COMPLETED && (slot === STANDS || slot === ACCEPTED))
    beside.push({ where: `runs seq ${seq}`, what: 'result', value: run.result })
  const follows = connection.statement(FOLLOW_UPS).all(seq) as { body: string }[]
  for (const { body } of follows) beside.push({ where: 'follow_ups', what: 'follow-up', value: parsed(body) })
  const place = slot === STANDS ? 'stands' : slot === BEHIND ? 'behind' : 'aside'
  const problems = problemsOf(connection, run)
  return { id, place, fields: fieldsOf(run), beside, raw: rawOf(connection, seq), problems }
}

/** The record by field names; what is absent is left out. */
function fieldsOf(run: Run): Record<string, unknown> {
  const { token, done, leaseUntil, expiresAt, attended } = run
  const rare = {
    token: token === null ? null : shownToken(token),
    lastToken: done === null ? null : shownToken(done),
    leaseUntil,
    expiresAt,
    attended,
  }
  const there = Object.entries(rare).filter(([, value]) => value !== null)
  return { ...structuredClone(entryOf(run)), ...Object.fromEntries(there) }
}

/** The row by column names. Tokens are shortened. */
function rawOf(connection: Connection, seq: number): string {
  const row = connection.statement(WHOLE_ROW).get(seq) as Record<string, unknown>
  for (const column of ['token', 'done']) {
    const value = row[column]
    if (typeof value === 'string') row[column] = shownToken(value)
  }
  return JSON.stringify(row)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function purge(step: Step, id: string): boolean {
  const { connection } = step
  const row = connection.statement(ROW_OF_ID).get(id) as { seq: number } | undefined
  if (row === undefined) return false
  const run = storedRun(connection, row.seq)
  if ('slot' in run && isLive(run)) return false
  connection.statement(DROP_RUN).run(row.seq)
  connection.statement(DROP_FOLLOW_UPS).run(row.seq)
  const answers = 'slot' in run && run.status === COMPLETED && (run.slot === STANDS || run.slot === ACCEPTED)
  // A near cache may hold its result.
  if (answers) step.news.invalidated = { keys: [keyOf(id)] }
  return true
}

const PAGE = 'SELECT seq FROM runs WHERE seq > ? ORDER BY seq LIMIT ?'
const WHOLE_ROW = 'SELECT * FROM runs WHERE seq = ?'
const ROW_OF_ID = 'SELECT seq FROM runs WHERE id = ?'
const FOLLOW_UPS = 'SELECT body FROM follow_ups WHERE run = ? ORDER BY seq'
const DROP_RUN = 'DELETE FROM runs WHERE seq = ?'
const DROP_FOLLOW_UPS = 'DELETE FROM follow_ups WHERE run = ?'
