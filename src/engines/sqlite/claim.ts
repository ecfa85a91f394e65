// Hands out what is due: lane by lane in order of priority, and within one priority in order of the due time; in turns
// where there are groups.

import type { Claims, Want } from '../../contract/engine.ts'
import type { Connection } from './connection.ts'
import { pick } from './group-fairness.ts'
import type { OpenLane } from './groups.ts'
import { groupsOf } from './groups.ts'
import type { Row, Run } from './rows.ts'
import { entryOf, FULL_RETURNING } from './rows.ts'
import type { Step } from './step.ts'
import { newTokenPrefix, TOKEN } from './token.ts'

/** The moment at which something wanted may be claimed, which may have passed; undefined: none is known. */
export function firstDue(connection: Connection, want: Want, now: number): number | undefined {
  const lanes = openLanes(connection, want)
  const grouped = new Set(lanes.map(({ grouping }) => grouping).filter((id) => id > 0))
  let groups: ReturnType<typeof groupsOf> | undefined
  if (grouped.size > 0 && want.limits !== undefined) groups = groupsOf(connection, grouped, want, now)
  let first = Number.POSITIVE_INFINITY
  for (const { due, grouping } of lanes) {
    const opensAt = groups?.get(grouping)?.opensAt ?? now
    first = Math.min(first, opensAt > now ? Math.max(due, opensAt) : due)
  }
  return Number.isFinite(first) ? first : undefined
}

export function claim(step: Step, want: Want): Claims {
  const { connection, now } = step
  const before = step.malformed.length
  const lanes = openLanes(connection, want).filter(({ due }) => due <= now)
  const claimed = lanes.some(({ grouping }) => grouping > 0)
    ? claimInTurns(step, lanes, want)
    : claimInOrder(step, lanes, want)
  for (const run of claimed) step.count(run.lane.id, -1, 1)
  const malformed = step.malformed.slice(before)
  return {
    claimed: claimed.map((run) => ({ entry: entryOf(run), token: run.token as string })),
    ...(malformed.length === 0 ? {} : { malformed }),
  }
}

function claimInOrder(step: Step, lanes: OpenLane[], want: Want): Run[] {
  const { connection, now } = step
  const prefix = newTokenPrefix()
  const claimed: Run[] = []
  for (let start = 0; start < lanes.length && claimed.length < want.limit; ) {
    const priority = (lanes[start] as OpenLane).priority
    let end = start
    while (lanes[end]?.priority === priority) end++
    const limit = want.limit - claimed.length
    const rows = take(connection, lanes.slice(start, end), limit, prefix, now, want.leaseMs)
    claimed.push(...step.take(rows).sort((a, b) => a.dueAt - b.dueAt || a.seq - b.seq))
    start = end
  }
  return claimed
}

function claimInTurns(step: Step, lanes: OpenLane[], want: Want): Run[] {
  const { connection, now } = step
  const seqs = pick(connection, lanes, want, now)
  const rows = connection
    .statement(TAKE_SEQS)
    .all(newTokenPrefix(), now, now + want.leaseMs, JSON.stringify(seqs)) as Row[]
  const places = new Map(seqs.map((seq, index) => [seq, index]))
  return step.take(rows).sort((a, b) => (places.get(a.seq) as number) - (places.get(b.seq) as number))
}

function take(
  connection: Connection,
  lanes: OpenLane[],
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

function openLanes(connection: Connection, { names, queues }: Want): OpenLane[] {
  const wanted = [JSON.stringify(names), queues === undefined ? null : JSON.stringify(queues)] as const
  return connection.statement(OPEN_LANES).all(...wanted) as OpenLane[]
}

// The kept counters are the directory: no lane is looked into that is not wanted, or holds nothing.
const OPEN_LANES = `
  SELECT id, priority, grouping, due FROM (
    SELECT l.id, l.priority, l.grouping, (
      SELECT due_at FROM runs r WHERE r.status = 0 AND r.slot <> 2 AND r.lane = l.id ORDER BY due_at LIMIT 1
    ) AS due
    FROM lanes l
    WHERE l.name IN (SELECT value FROM json_each(?1)) AND l.pending > 0
      AND (?2 IS NULL OR l.queue IN (SELECT value FROM json_each(?2)))
      AND NOT EXISTS (SELECT 1 FROM paused WHERE kind = 'queue' AND value = l.queue)
      AND NOT EXISTS (SELECT 1 FROM paused WHERE kind = 'name' AND value = l.name)
  )
  WHERE due IS NOT NULL ORDER BY priority DESC`
const LOOK =
  'SELECT seq, due_at FROM runs WHERE status = 0 AND slot <> 2 AND lane = ? AND due_at <= ? ORDER BY due_at, seq LIMIT ?'
// In: token prefix, now, lease end, and which.
const TAKE = `
  UPDATE runs SET status = 1, attempt = attempt + 1, token = ${TOKEN}, started_at = ?2, lease_until = ?3
  WHERE seq IN (:which) RETURNING ${FULL_RETURNING}`
const TAKE_LANE = TAKE.replace(
  ':which',
  'SELECT seq FROM runs WHERE status = 0 AND slot <> 2 AND lane = ?4 AND due_at <= ?2 ORDER BY due_at, seq LIMIT ?5',
)
const TAKE_SEQS = TAKE.replace(':which', 'SELECT value FROM json_each(?4)')
