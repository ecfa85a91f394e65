// Hands out what is due: lane by lane in order of priority, and within one priority in order of the due time.
import type { Claims, Want } from '../../engine.ts'
import type { Connection } from './connection.ts'
import type { Open } from './groups.ts'
import { begin, groupsOf, openLanes } from './groups.ts'
import type { Row, Run } from './rows.ts'
import { entryOf, FULL_RETURNING } from './rows.ts'
import type { Step } from './step.ts'
import { newTokenPrefix, TOKEN } from './token.ts'
import type { Candidate } from './turns.ts'
import { Turns } from './turns.ts'

/** The moment at which something wanted is due, which may have passed; undefined: nothing is waiting. */
export function firstDue(connection: Connection, want: Want, now: number): number | undefined {
  const lanes = openLanes(connection, want, now)
  return lanes.length === 0 ? undefined : Math.min(...lanes.map(({ due }) => due))
}

export function claim(step: Step, want: Want): Claims {
  const { connection, now } = step
  const prefix = newTokenPrefix()
  const claimed: Run[] = []
  const before = step.malformed.length
  const lanes = openLanes(connection, want, now).filter(({ due }) => due <= now)
  const inTurns = lanes.some(({ grp }) => grp !== '')
  if (inTurns) claimed.push(...takeInTurns(step, lanes, want, prefix))
  for (let start = 0; !inTurns && start < lanes.length && claimed.length < want.limit; ) {
    const priority = (lanes[start] as Open).priority
    let end = start
    while (lanes[end]?.priority === priority) end++
    const limit = want.limit - claimed.length
    const rows = take(connection, lanes.slice(start, end), limit, prefix, now, want.leaseMs)
    claimed.push(...step.take(rows).sort((a, b) => a.dueAt - b.dueAt || a.seq - b.seq))
    start = end
  }
  for (const run of claimed) step.count(run.lane.id, -1, 1)
  const malformed = step.malformed.slice(before)
  return {
    claimed: claimed.map((run) => ({ entry: entryOf(run), token: run.token as string })),
    ...(malformed.length === 0 ? {} : { malformed }),
  }
}

function take(
  connection: Connection,
  lanes: Open[],
  limit: number,
  prefix: string,
  now: number,
  leaseMs: number,
): Row[] {
  const [only] = lanes
  if (lanes.length === 1 && only !== undefined) {
    return connection.statement(TAKE_LANE).all(prefix, now, now + leaseMs, only.id, limit) as Row[]
  }
  const candidates = lanes.flatMap(
    ({ id }) => connection.statement(LOOK).all(id, now, limit) as { seq: number; due_at: number }[],
  )
  candidates.sort((a, b) => a.due_at - b.due_at || a.seq - b.seq)
  const seqs = JSON.stringify(candidates.slice(0, limit).map(({ seq }) => seq))
  return connection.statement(TAKE_SEQS).all(prefix, now, now + leaseMs, seqs) as Row[]
}

/** Which ones, group by group in turns; then all of them at once. */
function takeInTurns(step: Step, lanes: Open[], want: Want, prefix: string): Run[] {
  const { connection, now } = step
  const look = (lane: Open): Candidate[] =>
    connection.statement(LOOK).all(lane.id, now, want.limit) as Candidate[]
  const groups = groupsOf(connection, lanes, want.limits ?? {}, now)
  const turns = new Turns(lanes, groups, look)
  const seqs: number[] = []
  while (seqs.length < want.limit) {
    const seq = turns.next()
    if (seq === undefined) break
    seqs.push(seq)
  }
  let turn = 0
  for (const { served } of groups.values()) turn = Math.max(turn, served)
  for (const { group, count } of turns.served)
    begin(connection, group, count, ++turn, want.limits?.[group.name], now)
  const rows = connection
    .statement(TAKE_SEQS)
    .all(prefix, now, now + want.leaseMs, JSON.stringify(seqs)) as Row[]
  const places = new Map(seqs.map((seq, index) => [seq, index]))
  return step.take(rows).sort((a, b) => (places.get(a.seq) as number) - (places.get(b.seq) as number))
}

const LOOK =
  'SELECT seq, due_at FROM runs WHERE status = 0 AND lane = ? AND due_at <= ? ORDER BY due_at, seq LIMIT ?'
// In: token prefix, now, lease end, and which.
const TAKE = `
  UPDATE runs SET status = 1, attempt = attempt + 1, token = ${TOKEN}, started_at = ?2, lease_until = ?3
  WHERE seq IN (:which) RETURNING ${FULL_RETURNING}`
const TAKE_LANE = TAKE.replace(
  ':which',
  'SELECT seq FROM runs WHERE status = 0 AND lane = ?4 AND due_at <= ?2 ORDER BY due_at, seq LIMIT ?5',
)
const TAKE_SEQS = TAKE.replace(':which', 'SELECT value FROM json_each(?4)')
