// Maintenance of the memory engine: looks at single runs, and finds and repairs contradictions between records and indexes.
import type { Beside, Counts, Inspection, Maintenance, Problem, ScanPage } from '../../contract/engine.ts'
import { MAX_BATCH } from '../../contract/engine.ts'
import { isLive, keyOf } from '../../contract/lifecycle/ledger.ts'
import { shownToken } from '../../contract/maintenance.ts'
import type { MemoryLedger } from './ledger.ts'
import type { Run } from './runs.ts'
import type { MemoryStore } from './store.ts'

/** Fields that hold a moment of the store's clock; they are shown as moments of the wall clock. */
const TOKENS = ['token', 'lastToken'] as const
const MOMENTS = new Set([
  'createdAt',
  'dueAt',
  'startedAt',
  'finishedAt',
  'freshUntil',
  'staleUntil',
  'leaseUntil',
  'rememberedUntil',
  'expiresAt',
])
/** Fields that belong to the indexes; `beside` shows them. */
const INDEXES = new Set(['slot', 'seq', 'ticket', 'place', 'owner', 'watchers', 'followUps'])

type Tickets = ReadonlyMap<Run, Beside>

/** Every call is one atomic step, so a problem that is seen is there. */
export class MemoryMaintenance implements Maintenance {
  readonly #store: MemoryStore
  readonly #check: (items: readonly unknown[], method: string) => void

  /** `check` refuses calls after the engine is closed, and batches that are too large. */
  constructor(store: MemoryStore, check: (items: readonly unknown[], method: string) => void) {
    this.#store = store
    this.#check = check
  }

  async inspect(idOrKey: string): Promise<Inspection | undefined> {
    this.#check([], 'inspect')
    return this.#store.step((ledger) => {
      const run = ledger.find(idOrKey)
      if (run === undefined) return undefined
      const tickets = ticketsOf(ledger)
      const { id, place } = run
      return {
        id,
        place: place === 'accepted' ? 'aside' : place,
        fields: fieldsOf(run, ledger.wallAhead),
        beside: besideOf(run, ledger, tickets),
        problems: problemsOf(run, ledger, tickets),
      }
    })
  }

  async scan(limit: number, cursor?: string): Promise<ScanPage> {
    this.#check([], 'scan')
    return this.#store.step((ledger) => {
      const after = cursor === undefined ? 0 : Number(cursor)
      const tickets = ticketsOf(ledger)
      const page: ScanPage = { problems: after === 0 ? wholeStore(ledger) : [], looked: 0 }
      let last = after
      for (const run of ledger.runs.values()) {
        if (run.seq <= after) continue
        if (page.looked === Math.min(Math.max(limit, 1), MAX_BATCH)) return { ...page, cursor: String(last) }
        page.problems.push(...problemsOf(run, ledger, tickets))
        page.looked++
        last = run.seq
      }
      return page
    })
  }

  async repair(problems: readonly Problem[]): Promise<boolean[]> {
    this.#check(problems, 'repair')
    return this.#store.step((ledger) => problems.map((problem) => repair(ledger, problem)))
  }

  /** Records in memory are always of this version. */
  async migrate(): Promise<string[]> {
    this.#check([], 'migrate')
    return []
  }

  async purge(ids: readonly string[]): Promise<boolean[]> {
    this.#check(ids, 'purge')
    return this.#store.step((ledger) => ids.map((id) => this.#purge(ledger, id)))
  }

  #purge(ledger: MemoryLedger, id: string): boolean {
    const run = ledger.runs.get(id)
    if (run === undefined || isLive(run)) return false
    const answers = run.slot.accepted === run
    ledger.forget(run)
    // A near cache may hold its result.
    if (answers) this.#store.tell({ kind: 'invalidated', selector: { keys: [keyOf(id)] } })
    return true
  }
}

/** The record by field names; what is undefined is left out. */
function fieldsOf(run: Run, wallAhead: number): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (const [field, value] of Object.entries(run)) {
    if (value === undefined || INDEXES.has(field)) continue
    // 0 stands for no moment.
    fields[field] = MOMENTS.has(field) && value !== 0 ? value + wallAhead : value
  }
  if (run.attended !== undefined) fields.attended = { ...run.attended, until: run.attended.until + wallAhead }
  for (const field of TOKENS) if (typeof fields[field] === 'string') fields[field] = shownToken(fields[field])
  return structuredClone(fields)
}

function besideOf(run: Run, ledger: MemoryLedger, tickets: Tickets): Beside[] {
  const beside: Beside[] = []
  const ticket = tickets.get(run)
  if (ticket !== undefined) beside.push(ticket)
  if (ledger.running.get(run.id) === run)
    beside.push({ where: 'running', what: 'lease', value: { until: run.leaseUntil + ledger.wallAhead } })
  if (run.slot.accepted === run) beside.push({ where: 'slot', what: 'result', value: run.result })
  for (const follow of ledger.followUps(run))
    beside.push({ where: 'run', what: 'follow-up', value: structuredClone(follow) })
  if (run.watchers !== undefined)
    beside.push({ where: 'run', what: 'watcher', value: { connections: run.watchers.size } })
  return beside
}

function ticketsOf({ lanes, wallAhead }: MemoryLedger): Tickets {
  const tickets = new Map<Run, Beside>()
  for (const { run, priority, dueAt } of lanes.tickets()) {
    const { queue, name, group } = run
    const lane = group === undefined ? { queue, name } : { queue, name, group }
    const value = { ...lane, priority, dueAt: dueAt + wallAhead }
    tickets.set(run, { where: 'lanes', what: 'ticket', value })
  }
  return tickets
}

function problemsOf(run: Run, ledger: MemoryLedger, tickets: Tickets): Problem[] {
  const { id, status, place } = run
  const problems: Problem[] = []
  const held = ledger.running.get(id) === run
  if (status === 'pending' && place !== 'behind' && !tickets.has(run))
    problems.push({ kind: 'no-ticket', id, where: 'lanes', detail: 'The run is pending and has no ticket.' })
  if (status === 'pending' && place === 'behind' && tickets.has(run)) {
    const detail = 'The run waits behind another and has a ticket.'
    problems.push({ kind: 'stray-ticket', id, where: 'lanes', detail })
  }
  if (status === 'running' && !held)
    problems.push({ kind: 'no-lease', id, where: 'running', detail: 'The run is running and has no lease.' })
  return problems
}

/** Problems that are not found by going through the runs. */
function wholeStore(ledger: MemoryLedger): Problem[] {
  const problems: Problem[] = []
  for (const [id, run] of ledger.running) {
    if (run.status === 'running' && ledger.runs.get(id) === run) continue
    problems.push({
      kind: 'stray-lease',
      id,
      where: 'running',
      detail: `The run has a lease and is ${run.status}.`,
    })
  }
  for (const [key, slot] of ledger.slots) {
    for (const place of ['run', 'accepted', 'next'] as const) {
      const run = slot[place]
      if (run === undefined || ledger.runs.get(run.id) === run) continue
      const detail = `The slot of the key ${key} names a run that is gone.`
      problems.push({ kind: 'orphan', id: run.id, where: `slots ${place}`, detail })
    }
  }
  for (const { where, counted, there } of wrongCounts(ledger)) {
    const detail = `Counted are ${counted.pending} pending and ${counted.running} running; there are ${there.pending} and ${there.running}.`
    problems.push({ kind: 'counter', where, detail })
  }
  return problems
}

type Count = Counts['lanes'][number]

function wrongCounts(ledger: MemoryLedger): { where: string; counted: Count; there: Count }[] {
  const lanes = new Map<string, { counted: Count; there: Count }>()
  const laneOf = ({ queue, name }: { queue: string; name: string }) => {
    const where = `counts ${JSON.stringify([queue, name])}`
    const none = { queue, name, pending: 0, running: 0 }
    let lane = lanes.get(where)
    if (lane === undefined) lanes.set(where, (lane = { counted: none, there: { ...none } }))
    return lane
  }
  for (const counted of ledger.lanes.counts()) laneOf(counted).counted = counted
  for (const run of ledger.runs.values()) {
    if (run.status === 'pending' || run.status === 'running') laneOf(run).there[run.status]++
  }
  return [...lanes]
    .filter(
      ([, { counted, there }]) => counted.pending !== there.pending || counted.running !== there.running,
    )
    .map(([where, lane]) => ({ where, ...lane }))
}

/** Looks again, and repairs what still is as the problem says. */
function repair(ledger: MemoryLedger, { kind, id, where }: Problem): boolean {
  if (kind === 'counter') {
    const wrong = wrongCounts(ledger).find((found) => found.where === where)
    if (wrong === undefined) return false
    const { counted, there } = wrong
    ledger.lanes.add(there, there.pending - counted.pending, there.running - counted.running)
    return true
  }
  const run = id === undefined ? undefined : ledger.runs.get(id)
  const found = run === undefined ? [] : problemsOf(run, ledger, ticketsOf(ledger))
  const same = [...found, ...wholeStore(ledger)].some(
    (problem) => problem.kind === kind && problem.id === id && problem.where === where,
  )
  if (!same || id === undefined) return false
  switch (kind) {
    case 'no-ticket':
      ledger.ready(run as Run)
      return true
    case 'stray-ticket':
      ;(run as Run).ticket++
      return true
    case 'no-lease':
      ;(run as Run).leaseUntil = ledger.now
      ledger.running.set(id, run as Run)
      return true
    case 'stray-lease':
      ledger.running.delete(id)
      return true
    case 'orphan':
      removeOrphan(ledger, id)
      return true
    case 'unreadable':
      return false
  }
}

function removeOrphan(ledger: MemoryLedger, id: string): void {
  const slot = ledger.slots.get(keyOf(id))
  for (const place of ['run', 'accepted', 'next'] as const) {
    const named = slot?.[place]
    if (slot !== undefined && named?.id === id && ledger.runs.get(id) !== named) slot[place] = undefined
  }
  ledger.tidy(keyOf(id))
}
