// The contradictions that a SQLite store can hold. A ticket and a lease are columns of the run's row, so neither can be missing.
import type { Problem } from '../../contract/engine.ts'
import type { Connection } from './connection.ts'
import type { Broken, Row, Run } from './rows.ts'
import {
  BEHIND,
  FULL_ROW,
  HAS_FOLLOW_UPS,
  HAS_NEXT,
  hashOf,
  isBroken,
  isLive,
  keyOf,
  MALFORMED,
  runOf,
  STANDS,
} from './rows.ts'

/** The run of a row, read as the engine reads it. */
export function storedRun(connection: Connection, seq: number): Run | Broken {
  const row = connection.statement(ROW).get(seq) as Row | undefined
  return row === undefined
    ? { seq, id: '', reason: 'the row is gone' }
    : runOf(row, (id) => connection.laneById(id))
}

export function problemsOf(connection: Connection, run: Run | Broken): Problem[] {
  const where = `runs seq ${run.seq}`
  if (isBroken(run)) {
    const gone = run.id === ''
    return gone
      ? []
      : [{ kind: 'unreadable', id: run.id, where, detail: `The row can't be read: ${run.reason}.` }]
  }
  const { id, seq } = run
  const problems: Problem[] = []
  const { follows } = connection.statement(COUNT_FOLLOW_UPS).get(seq) as { follows: number }
  if (follows > 0 && !isLive(run)) {
    const detail = `${follows} follow-ups wait for a run that has ended.`
    problems.push({ kind: 'orphan', id, where: 'follow_ups', detail })
  }
  const ahead = runAhead(connection, run)
  if (run.slot === BEHIND && (ahead === undefined || !isLive(ahead))) {
    const detail = 'The run waits behind a run that does not live: nothing brings it forward.'
    problems.push({ kind: 'no-ticket', id, where, detail })
  }
  const missing = missingTies(connection, run)
  if (missing !== 0) {
    const detail = 'The end of the run would not look at the follow-ups, or at the run behind it.'
    problems.push({ kind: 'counter', id, where: `${where} tied`, detail })
  }
  return problems
}

/** The flags that a live run lacks, so that its end would leave something behind. */
export function missingTies(connection: Connection, run: Run): number {
  if (!isLive(run)) return 0
  const { follows } = connection.statement(COUNT_FOLLOW_UPS).get(run.seq) as { follows: number }
  const next = run.slot === STANDS ? runOfSlot(connection, run, BEHIND) : undefined
  const needed = (follows > 0 ? HAS_FOLLOW_UPS : 0) | (next === undefined ? 0 : HAS_NEXT)
  return needed & ~run.tied
}

/** The run that stands under the key of a run that waits behind it. */
export const runAhead = (connection: Connection, run: Run): Run | undefined =>
  run.slot === BEHIND ? runOfSlot(connection, run, STANDS) : undefined

function runOfSlot(connection: Connection, { id }: Run, slot: number): Run | undefined {
  const rows = connection.statement(ROWS_OF_SLOT).all(hashOf(id), slot) as Row[]
  const runs = rows.map((row) => runOf(row, (lane) => connection.laneById(lane)))
  return runs.find((run): run is Run => !isBroken(run) && keyOf(run.id) === keyOf(id))
}

/** Problems that are not found by going through the runs. */
export function problemsOfStore(connection: Connection): Problem[] {
  const problems: Problem[] = []
  const lanes = connection.statement(WRONG_LANES).all() as WrongLane[]
  for (const { id, queue, name, pending, running, there_pending, there_running } of lanes) {
    const detail =
      `The lane ${name} of the queue ${queue} counts ${pending} pending and ${running} running; ` +
      `there are ${there_pending} and ${there_running}.`
    problems.push({ kind: 'counter', where: `lanes ${id}`, detail })
  }
  const strays = connection.statement(STRAY_FOLLOW_UPS).all() as { seq: number; id: string }[]
  for (const { seq, id } of strays)
    problems.push({
      kind: 'orphan',
      where: `follow_ups ${seq}`,
      detail: `The follow-up ${id} waits for a run that is gone.`,
    })
  return problems
}

interface WrongLane {
  id: number
  queue: string
  name: string
  pending: number
  running: number
  there_pending: number
  there_running: number
}

const ROW = `SELECT ${FULL_ROW} FROM runs r WHERE r.seq = ?`
const ROWS_OF_SLOT = `SELECT ${FULL_ROW} FROM runs r WHERE r.hash = ? AND r.slot = ?`
const COUNT_FOLLOW_UPS = 'SELECT count(*) AS follows FROM follow_ups WHERE run = ?'
const STRAY_FOLLOW_UPS =
  'SELECT seq, id FROM follow_ups WHERE run NOT IN (SELECT seq FROM runs) ORDER BY seq LIMIT 1000'
const WRONG_LANES = `
  SELECT l.id, l.queue, l.name, l.pending, l.running, coalesce(r.pending, 0) AS there_pending,
    coalesce(r.running, 0) AS there_running
  FROM lanes l LEFT JOIN (
    SELECT lane, sum(status = 0) AS pending, sum(status = 1) AS running FROM runs WHERE status < ${MALFORMED} GROUP BY lane
  ) r ON r.lane = l.id
  WHERE l.pending <> there_pending OR l.running <> there_running`
