// Repairs of a SQLite store: each looks again under the write lock, and changes only what still is as the problem says.
import type { Problem } from '../../contract/engine.ts'
import { missingTies, problemsOf, problemsOfStore, runAhead, storedRun } from './maintenance-scan.ts'
import type { Run } from './rows.ts'
import { asideOf, isBroken, STANDS } from './rows.ts'
import type { Step } from './step.ts'

/** Within a step. Answers whether it changed something. */
export function repair(step: Step, problem: Problem): boolean {
  const { kind, id, where } = problem
  const { connection } = step
  if (id === undefined) return repairStore(step, problem)
  const row = connection.statement(ROW_OF_ID).get(id) as { seq: number } | undefined
  const run = row && storedRun(connection, row.seq)
  if (run === undefined || isBroken(run)) return false
  if (!problemsOf(connection, run).some((found) => found.kind === kind && found.where === where)) return false
  switch (kind) {
    case 'orphan':
      connection.statement(DROP_FOLLOW_UPS).run(run.seq)
      return true
    case 'no-ticket':
      bringForward(step, run)
      return true
    case 'counter':
      connection.statement(ADD_TIES).run(missingTies(connection, run), run.seq)
      return true
    default:
      return false
  }
}

/** The run behind a run that does not live takes its place. */
function bringForward(step: Step, run: Run): void {
  const ahead = runAhead(step.connection, run)
  if (ahead !== undefined) step.connection.statement(MOVE).run(asideOf(ahead.id), ahead.seq)
  step.connection.statement(MOVE).run(STANDS, run.seq)
  step.news.ready.push(run)
}

function repairStore({ connection }: Step, { kind, where }: Problem): boolean {
  if (!problemsOfStore(connection).some((found) => found.kind === kind && found.where === where)) return false
  const number = Number(where.split(' ')[1])
  connection.statement(kind === 'counter' ? COUNT_LANE : DROP_FOLLOW_UP).run(number)
  return true
}

const ROW_OF_ID = 'SELECT seq FROM runs WHERE id = ?'
const DROP_FOLLOW_UPS = 'DELETE FROM follow_ups WHERE run = ?'
const DROP_FOLLOW_UP = 'DELETE FROM follow_ups WHERE seq = ?'
const ADD_TIES = 'UPDATE runs SET tied = tied | ? WHERE seq = ?'
const MOVE = 'UPDATE runs SET slot = ? WHERE seq = ?'
const COUNT_LANE = `
  UPDATE lanes SET
    pending = (SELECT count(*) FROM runs WHERE lane = lanes.id AND status = 0),
    running = (SELECT count(*) FROM runs WHERE lane = lanes.id AND status = 1)
  WHERE id = ?`
