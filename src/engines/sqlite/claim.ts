// Hands out what is due: lane by lane in order of priority, and within one priority in order of the due time.
import type { Claims, Want } from '../../engine.ts'
import type { Connection } from './connection.ts'
import type { Row, Run } from './rows.ts'
import { entryOf, FULL_RETURNING } from './rows.ts'
import type { Step } from './step.ts'
import { newTokenPrefix, TOKEN } from './token.ts'

/** A wanted lane that holds something, and when the first of it is due. */
interface Open {
  id: number
  priority: number
  due: number
}

/** The moment at which something wanted is due, which may have passed; undefined: nothing is waiting. */
export function firstDue(connection: Connection, want: Want): number | undefined {
  const lanes = openLanes(connection, want)
  return lanes.length === 0 ? undefined : Math.min(...lanes.map(({ due }) => due))
}

export function claim(step: Step, want: Want): Claims {
  const { connection, now } = step
  const prefix = newTokenPrefix()
  const claimed: Run[] = []
  const before = step.malformed.length
  const lanes = openLanes(connection, want).filter(({ due }) => due <= now)
  for (let start = 0; start < lanes.length && claimed.length < want.limit; ) {
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

function openLanes(connection: Connection, { names, queues }: Want): Open[] {
  const wanted = [JSON.stringify(names), queues === undefined ? null : JSON.stringify(queues)] as const
  return connection.statement(OPEN_LANES).all(...wanted) as Open[]
}

// The kept counters are the directory: no lane is looked into that is not wanted, or holds nothing.
const OPEN_LANES = `
  SELECT id, priority, due FROM (
    SELECT l.id, l.priority, (
      SELECT due_at FROM runs r WHERE r.status = 0 AND r.lane = l.id ORDER BY due_at LIMIT 1
    ) AS due
    FROM lanes l
    WHERE l.name IN (SELECT value FROM json_each(?1)) AND l.pending > 0
      AND (?2 IS NULL OR l.queue IN (SELECT value FROM json_each(?2)))
  )
  WHERE due IS NOT NULL ORDER BY priority DESC`
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
