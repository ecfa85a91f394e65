// Groups of runs: how many of each run, when they began, whose turn it is, and how long they are remembered.
import type { Limit, Want } from '../../contract/engine.ts'
import type { Connection } from './connection.ts'

/** A group as a claim finds it; those who claim hold the write lock, or only look. */
export interface Group {
  id: number
  name: string
  /** The lower, the longer ago. */
  served: number
  /** How many more may begin now. */
  room: number
  /** When one more may: now, later, or once one of those that run has ended (Infinity). */
  opensAt: number
}

/** A wanted lane that holds something, and when the first of it is due. */
export interface OpenLane {
  id: number
  priority: number
  grouping: number
  due: number
}

export function groupsOf(
  connection: Connection,
  ids: Iterable<number>,
  { limits = {} }: Want,
  now: number,
): Map<number, Group> {
  const rows = connection.statement(GROUPS).all(JSON.stringify([...ids])) as {
    id: number
    name: string
    served: number
    running: number
  }[]
  return new Map(
    rows.map(({ id, name, served, running }) => {
      const limit = limits[name] ?? {}
      const free = (limit.running ?? Number.POSITIVE_INFINITY) - running
      const { room, opensAt } = rateOf(connection, id, limit.rate, now)
      const opens = free <= 0 ? Number.POSITIVE_INFINITY : opensAt
      return [id, { id, name, served, room: Math.max(0, Math.min(free, room)), opensAt: opens }]
    }),
  )
}

function rateOf(
  connection: Connection,
  id: number,
  rate: Limit['rate'],
  now: number,
): { room: number; opensAt: number } {
  if (rate === undefined) return { room: Number.POSITIVE_INFINITY, opensAt: now }
  const { begun } = connection.statement(BEGUN).get(id, now - rate.perMs) as { begun: number | null }
  const room = rate.max - (begun ?? 0)
  if (room > 0) return { room, opensAt: now }
  const { at } = connection.statement(OPENS).get(id, now - rate.perMs, rate.max) as { at: number }
  return { room: 0, opensAt: at + rate.perMs }
}

/** Notes that so many of the group have begun, and that it was served last of all. */
export function begin(
  connection: Connection,
  group: Group,
  count: number,
  limit: Limit | undefined,
  now: number,
): void {
  const perMs = limit?.rate?.perMs
  connection.statement(SERVE).run(now + (perMs ?? 0), group.id)
  if (perMs === undefined) return
  connection.statement(FORGET_BEGUN).run(group.id, now - perMs)
  connection.statement(BEGIN).run(group.id, now, count)
}

/** After the lanes: a group whose lanes are gone, and which no rate looks back at, is as one that never was. */
export function forgetIdleGroups(connection: Connection, now: number, limit: number): void {
  const idle = connection.statement(IDLE).all(now, limit) as { id: number }[]
  for (const { id } of idle) {
    connection.statement('DELETE FROM begins WHERE grouping = ?').run(id)
    connection.statement('DELETE FROM groups WHERE id = ?').run(id)
  }
}

const GROUPS = `
  SELECT g.id, g.name, g.served, (SELECT sum(running) FROM lanes l WHERE l.grouping > 0 AND l.grouping = g.id) AS running
  FROM json_each(?) j CROSS JOIN groups g WHERE g.id = j.value`
const BEGUN = 'SELECT sum(count) AS begun FROM begins WHERE grouping = ? AND at > ?'
// The newest moment that has, with what began after it, as many as the rate allows: once it is over, one more may begin.
const OPENS = `
  SELECT max(at) AS at FROM (
    SELECT at, sum(count) OVER (ORDER BY at DESC) AS since FROM begins WHERE grouping = ?1 AND at > ?2
  ) WHERE since >= ?3`
const SERVE = `
  UPDATE groups SET served = (SELECT max(served) FROM groups) + 1, idle_at = max(idle_at, ?) WHERE id = ?`
const FORGET_BEGUN = 'DELETE FROM begins WHERE grouping = ? AND at <= ?'
const BEGIN = `
  INSERT INTO begins (grouping, at, count) VALUES (?, ?, ?)
  ON CONFLICT DO UPDATE SET count = count + excluded.count`
const IDLE = `
  SELECT id FROM groups g WHERE g.idle_at <= ? AND NOT EXISTS (SELECT 1 FROM lanes l WHERE l.grouping > 0 AND l.grouping = g.id) LIMIT ?`
