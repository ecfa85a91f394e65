// Groups and pauses: which lanes may give something out now, how much of it, and whose turn it is.
import type { Lanes, Limit, Want } from '../../engine.ts'
import type { Connection } from './connection.ts'
import type { Lane } from './rows.ts'

/** A wanted lane that holds something. */
export interface Open {
  id: number
  name: string
  /** As the column has it: empty for none. */
  grp: string
  priority: number
  /** When the first of it may be taken. */
  due: number
}

export interface Group {
  name: string
  grp: string
  /** How many more may begin now. */
  room: number
  served: number
  began: number[]
  /** When a rate that is spent allows the next. */
  opensAt: number
}

// Turns are forgotten a while after the last one.
const REMEMBERED_MS = 60_000

/** Those of groups that are full are left out; what a rate holds back is due when that allows it. */
export function openLanes(connection: Connection, want: Want, now: number): Open[] {
  const { names, queues, limits } = want
  const wanted = [JSON.stringify(names), queues === undefined ? null : JSON.stringify(queues)] as const
  const lanes = connection.statement(OPEN_LANES).all(...wanted) as Open[]
  if (limits === undefined || lanes.every(({ grp }) => grp === '')) return lanes
  const groups = groupsOf(connection, lanes, limits, now)
  return lanes.flatMap((lane) => {
    const group = groups.get(keyOf(lane))
    if (group === undefined || group.room > 0) return [lane]
    return group.opensAt === Number.POSITIVE_INFINITY
      ? []
      : [{ ...lane, due: Math.max(lane.due, group.opensAt) }]
  })
}

export const keyOf = ({ name, grp }: { name: string; grp: string }): string => `${name}\0${grp}`

/** The groups of these lanes, as they are now. */
export function groupsOf(
  connection: Connection,
  lanes: readonly Open[],
  limits: Readonly<Record<string, Limit>>,
  now: number,
): Map<string, Group> {
  const groups = new Map<string, Group>()
  for (const lane of lanes) {
    if (lane.grp === '' || groups.has(keyOf(lane))) continue
    const { name, grp } = lane
    const kept = connection.statement(GROUP).get(name, grp) as { served: number; began: string } | undefined
    const { running, rate } = limits[name] ?? {}
    const began =
      rate === undefined || kept === undefined
        ? []
        : (JSON.parse(kept.began) as number[]).filter((at) => at + rate.perMs > now)
    const free = running === undefined ? Number.POSITIVE_INFINITY : running - runningOf(connection, name, grp)
    const allowed = rate === undefined ? Number.POSITIVE_INFINITY : rate.max - began.length
    const opensAt =
      free <= 0 || rate === undefined ? Number.POSITIVE_INFINITY : (began.at(-rate.max) ?? 0) + rate.perMs
    const room = Math.max(0, Math.min(free, allowed))
    groups.set(keyOf(lane), { name, grp, room, served: kept?.served ?? 0, began, opensAt })
  }
  return groups
}

/** So many more have begun. */
export function begin(
  connection: Connection,
  { name, grp, began }: Group,
  count: number,
  served: number,
  limit: Limit | undefined,
  now: number,
): void {
  const perMs = limit?.rate?.perMs ?? 0
  const all = perMs === 0 ? [] : [...began, ...Array<number>(count).fill(now)]
  const idleAt = now + Math.max(perMs, REMEMBERED_MS)
  connection.statement(BEGIN).run(name, grp, served, JSON.stringify(all), idleAt)
}

export function pause(connection: Connection, lanes: Lanes, paused: boolean): void {
  connection.statement(paused ? PAUSE : RESUME).run(textOf(lanes))
}

const textOf = (lanes: Lanes): string => ('queue' in lanes ? `q${lanes.queue}` : `n${lanes.name}`)
export const pausedIn = (text: string): Lanes =>
  text.startsWith('q') ? { queue: text.slice(1) } : { name: text.slice(1) }

/** What is told to those who wait, so that they look at the lanes that were resumed. */
export function openedBy(connection: Connection, lanes: Lanes, now: number): { lane: Lane; dueAt: number }[] {
  const [column, value] =
    'queue' in lanes ? (['queue', lanes.queue] as const) : (['name', lanes.name] as const)
  const rows = connection
    .statement(`SELECT id FROM lanes WHERE ${column} = ? AND pending > 0`)
    .all(value) as { id: number }[]
  return rows.map(({ id }) => ({ lane: connection.laneById(id) as Lane, dueAt: now }))
}

function runningOf(connection: Connection, name: string, grp: string): number {
  const { running } = connection.statement(RUNNING_OF).get(name, grp) as { running: number | null }
  return running ?? 0
}

// The kept counters are the directory: no lane is looked into that is not wanted, or holds nothing.
const OPEN_LANES = `
  SELECT id, name, grp, priority, due FROM (
    SELECT l.id, l.name, l.grp, l.priority, (
      SELECT due_at FROM runs r WHERE r.status = 0 AND r.lane = l.id ORDER BY due_at LIMIT 1
    ) AS due
    FROM lanes l
    WHERE l.name IN (SELECT value FROM json_each(?1)) AND l.pending > 0
      AND (?2 IS NULL OR l.queue IN (SELECT value FROM json_each(?2)))
      AND 'n' || l.name NOT IN (SELECT lanes FROM paused) AND 'q' || l.queue NOT IN (SELECT lanes FROM paused)
  )
  WHERE due IS NOT NULL ORDER BY priority DESC`
const GROUP = 'SELECT served, began FROM groups WHERE name = ? AND grp = ?'
const RUNNING_OF = 'SELECT sum(running) AS running FROM lanes WHERE name = ? AND grp = ?'
const BEGIN = `
  INSERT INTO groups (name, grp, served, began, idle_at) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET served = excluded.served, began = excluded.began, idle_at = excluded.idle_at`
const PAUSE = 'INSERT INTO paused (lanes) VALUES (?) ON CONFLICT DO NOTHING'
const RESUME = 'DELETE FROM paused WHERE lanes = ?'
