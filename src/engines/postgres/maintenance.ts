// Maintenance of the PostgreSQL engine: shows a run as its rows say, finds contradictions between rows, and repairs them.
import type {
  Beside,
  Inspection,
  Maintenance,
  MigrateOptions,
  Problem,
  ScanPage,
} from '../../contract/engine.ts'
import { checkBatch, KEY_LENGTH, MAX_BATCH } from '../../contract/engine.ts'
import { shownToken } from '../../contract/maintenance.ts'
import type { PostgresDriver, Query, Rows } from '../../drivers/postgres.ts'
import { quoted } from '../../drivers/postgres.ts'
import type { EntryRow } from './rows.ts'
import { claimedOf, STATUSES } from './rows.ts'
import { SOURCES } from './sql/maintenance/generated.ts'

/** The parts of the engine that its maintenance uses. */
export interface Reach {
  driver: PostgresDriver
  schema: string
  /** The channel that every instance hears. */
  everybody: string
  open(): Promise<void>
  /** The statements that the schema lacks; carries them out unless `dryRun`. */
  migrate(dryRun: boolean): Promise<string[]>
}

type Statement = keyof typeof SOURCES
type Found = Pick<Problem, 'kind' | 'where' | 'detail'>

interface InspectedRow {
  id: string
  place: string
  status: number
  lease: string | null
  entry: EntryRow | null
  raw: Record<string, unknown>
  lane: Record<string, unknown> | null
  problems: Found[]
  follows: unknown[]
}

const ID = /^[0-9a-f]{88}$/
const KEY = /^[0-9a-f]{64}$/

/** Each look is one statement, which sees one moment: what it finds is there, however busy the workers are. */
export class PostgresMaintenance implements Maintenance {
  readonly #reach: Reach

  constructor(reach: Reach) {
    this.#reach = reach
  }

  async inspect(idOrKey: string): Promise<Inspection | undefined> {
    if (!ID.test(idOrKey) && !KEY.test(idOrKey)) return undefined
    const values = ID.test(idOrKey) ? placeOf(idOrKey) : [Buffer.from(idOrKey, 'hex'), null]
    const [row] = await this.#within((query) => query(sql('inspect.sql'), values))
    return row === undefined ? undefined : inspectionOf(row as unknown as InspectedRow)
  }

  async scan(limit: number, cursor?: string): Promise<ScanPage> {
    const most = Math.min(Math.max(Math.trunc(limit), 1), MAX_BATCH)
    const [key = '', place = '-1'] = cursor?.split(':') ?? []
    return this.#within(async (query) => {
      const problems = cursor === undefined ? await problemsOfStore(query) : []
      const rows = await query(sql('scan.sql'), [Buffer.from(key, 'hex'), place, most])
      for (const { id, problems: found } of rows as unknown as { id: string; problems: Found[] }[])
        for (const each of found) problems.push({ ...each, id })
      const page = { problems, looked: rows.length }
      const last = rows.at(-1)
      return last === undefined || rows.length < most
        ? page
        : { ...page, cursor: `${last.key}:${last.place}` }
    })
  }

  async repair(problems: readonly Problem[]): Promise<boolean[]> {
    checkBatch(problems, 'repair')
    const repaired: boolean[] = []
    for (const problem of problems) repaired.push(await this.#within((query) => repair(query, problem)))
    return repaired
  }

  migrate({ dryRun = false }: MigrateOptions = {}): Promise<string[]> {
    return this.#reach.migrate(dryRun)
  }

  async purge(ids: readonly string[]): Promise<boolean[]> {
    checkBatch(ids, 'purge')
    const purged: boolean[] = []
    for (const id of ids) purged.push(ID.test(id) && (await this.#within((query) => this.#purge(query, id))))
    return purged
  }

  async #purge(query: Query, id: string): Promise<boolean> {
    const place = placeOf(id)
    const [gone] = await query(sql('purge.sql'), place)
    if (gone === undefined) return false
    await query(sql('repair-orphan.sql'), place)
    if (gone.place === '0') await query(sql('purge-result.sql'), place.slice(0, 1))
    // A near cache may hold its result.
    const news = `invalidated ${JSON.stringify({ keys: [id.slice(0, KEY_LENGTH)] })}`
    if (Number(gone.place) < 2) await query('select pg_notify($1, $2)', [this.#reach.everybody, news])
    return true
  }

  /** A transaction in which names lead to this schema. */
  async #within<T>(work: (query: Query) => Promise<T>): Promise<T> {
    const { driver, schema, open } = this.#reach
    await open()
    return driver.transaction(async (query) => {
      await query(`set local search_path = ${quoted(schema)}, pg_temp`)
      return work(query)
    })
  }
}

const sql = (name: Statement): string => SOURCES[name].replace('{{problems}}', () => SOURCES['problems.sql'])

const placeOf = (id: string): [key: Buffer, tail: Buffer] => [
  Buffer.from(id.slice(0, KEY_LENGTH), 'hex'),
  Buffer.from(id.slice(KEY_LENGTH), 'hex'),
]

function inspectionOf({
  id,
  place,
  status,
  lease,
  entry,
  raw,
  lane,
  problems,
  follows,
}: InspectedRow): Inspection {
  const beside: Beside[] = []
  if (status === 0)
    beside.push({ where: 'index runs_pending', what: 'ticket', value: ticketOf(lane ?? {}, raw.due_at) })
  if (status === 1) beside.push({ where: 'runs lease_until', what: 'lease', value: { until: Number(lease) } })
  if (status === 2 && Number(place) < 2)
    beside.push({ where: 'runs result', what: 'result', value: raw.result })
  for (const address of (raw.watchers as string[] | null) ?? [])
    beside.push({ where: 'runs watchers', what: 'watcher', value: address })
  for (const follow of follows) beside.push({ where: 'follow_ups', what: 'follow-up', value: follow })
  for (const column of ['token', 'done'])
    if (typeof raw[column] === 'string') raw[column] = shownToken(raw[column])
  return {
    id,
    place: status === -1 ? 'behind' : place === '0' ? 'stands' : 'aside',
    fields: entry === null ? {} : fieldsOf(entry, raw),
    beside,
    raw: JSON.stringify(raw),
    problems: problems.map((problem) => ({ ...problem, id })),
  }
}

function ticketOf({ queue, name, priority, grp }: Record<string, unknown>, dueAt: unknown): object {
  // A group has a colon before it, because a group may be the empty text.
  return { queue, name, ...(grp ? { group: String(grp).slice(1) } : {}), priority, dueAt }
}

/** The record by field names; what is absent is left out. Tokens in `raw` are shortened already. */
function fieldsOf(row: EntryRow, raw: Record<string, unknown>): Record<string, unknown> {
  const rare = {
    token: raw.token,
    lastToken: raw.done,
    leaseUntil: raw.lease_until,
    expiresAt: raw.expires_at,
    attendedUntil: raw.attended_until,
  }
  const there = Object.entries(rare).filter(([, value]) => value !== null && value !== undefined)
  return { ...claimedOf(row).entry, status: STATUSES[row[3]], ...Object.fromEntries(there) }
}

/** Problems that are not found by going through the runs. */
async function problemsOfStore(query: Query): Promise<Problem[]> {
  const lanes = await query(sql('scan-lanes.sql'))
  const strays = await query(sql('scan-follow-ups.sql'))
  return [
    ...lanes.map(({ id, name, queue, kind, counted, there }): Problem => {
      const detail = `The lane ${name} of the queue ${queue} counts ${counted} ${kind}; there are ${there}.`
      return { kind: 'counter', where: `tallies ${id} ${kind}`, detail }
    }),
    ...strays.map(({ id, follow }): Problem => {
      const detail = `The follow-up ${follow} waits for a run that is gone.`
      return { kind: 'orphan', id: String(id), where: 'follow_ups', detail }
    }),
  ]
}

/** Each repair is guarded by its own condition: it changes only what still is as the problem says. */
async function repair(query: Query, { kind, id, where }: Problem): Promise<boolean> {
  const [table, lane, tally] = where.split(' ')
  if (kind === 'counter' && table === 'tallies')
    return changed(await query(sql('repair-lane.sql'), [Number(lane), tally]))
  if (id === undefined || !ID.test(id)) return false
  const place = placeOf(id)
  switch (kind) {
    case 'orphan':
      return changed(await query(sql('repair-orphan.sql'), place))
    case 'counter': {
      const [row] = (await query(sql('inspect.sql'), place)) as unknown as InspectedRow[]
      if (row === undefined || !row.problems.some((found) => found.where === where)) return false
      return changed(await query(sql('repair-flags.sql'), place))
    }
    case 'no-ticket':
      await query(sql('repair-behind.sql'), place.slice(0, 1))
      return changed(await query(sql('repair-forward.sql'), place.slice(0, 1)))
    default:
      return false
  }
}

const changed = (rows: Rows): boolean => rows.length > 0
