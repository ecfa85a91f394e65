// One run as the SQLite engine holds it: read from a row, checked, and shown as the contract's records.
import type { Attended, Draft, Entry, Parent, Policy, Standing, Status } from '../../contract/engine.ts'
import { ID_LENGTH, KEY_LENGTH } from '../../contract/engine.ts'

export const PENDING = 0
export const RUNNING = 1
export const COMPLETED = 2
export const FAILED = 3
export const CANCELLED = 4
/** Set aside because it can't be read; nothing but the sweep touches it. */
export const MALFORMED = 5
const STATUSES: readonly Status[] = ['pending', 'running', 'completed', 'failed', 'cancelled']

/** The places under a key; what is aside has one of its own, from 3 up. */
export const STANDS = 0
export const ACCEPTED = 1
/** Pending, and not to be claimed before what stands there has ended. */
export const BEHIND = 2

/** `tied` says what an end has to look for, so that most ends look for nothing. */
export const HAS_FOLLOW_UPS = 1
export const HAS_OLDER_RESULT = 2
export const IS_ATTENDED = 4
export const HAS_NEXT = 8

export interface Lane {
  id: number
  queue: string
  name: string
  priority: number
  /** 0: of no group. */
  grouping: number
  group?: string
}

export interface Run {
  /** 0 until it is inserted. */
  seq: number
  id: string
  lane: Lane
  status: number
  slot: number
  tied: number
  dueAt: number
  createdAt: number
  expiresAt: number | null
  attempt: number
  policy: Policy
  startedAt: number | null
  finishedAt: number | null
  leaseUntil: number | null
  freshUntil: number | null
  staleUntil: number | null
  /** Of the lease; null while there is none. */
  token: string | null
  /** Of the last attempt that was settled: its repetition is answered as it was. */
  done: string | null
  errors: string[]
  attended: (Attended & { until: number }) | null
  /** The rest is only there when the whole row was asked for. */
  params: string
  extra: string | null
  parent: Parent | null | undefined
  progress: string | null
  result: string | null
}

/** A row that can't be read. */
export interface Broken {
  seq: number
  id: string
  reason: string
}

export const isBroken = (run: Run | Broken): run is Broken => 'reason' in run

export const keyOf = (id: string): string => id.slice(0, KEY_LENGTH)
// Past the first 8 characters, which a run shares with its follow-ups. Text that is no hex is a hash as well.
export const hashOf = (id: string): number => Number.parseInt(id.slice(8, 21), 16) || 0
export const asideOf = (id: string): number =>
  3 + (Number.parseInt(id.slice(KEY_LENGTH, KEY_LENGTH + 12), 16) || 0)

// A whole row as one JSON text: 28 columns one by one took twice as long to cross into JavaScript.
const LIGHT =
  'r.seq, r.id, r.lane, r.status, r.slot, r.tied, r.due_at, r.created_at, r.expires_at, r.attempt, r.max_attempts, ' +
  'r.result_ttl, r.stale_ttl, r.failure_ttl, r.retention, r.started_at, r.finished_at, r.lease_until, ' +
  'r.fresh_until, r.stale_until, r.token, r.done, r.errors, r.every, r.attended_ms, r.attended_running, r.attended_until'
/** Without the texts that may be long. */
export const LIGHT_ROW = `json_array(${LIGHT}) AS row`
export const FULL_ROW = `json_array(${LIGHT}, r.params, r.extra, r.parent, r.progress, r.result) AS row`
/** The same for RETURNING, which knows no alias. */
export const FULL_RETURNING = FULL_ROW.replaceAll('r.', '')

export interface Row {
  row: string
}

export function runOf({ row }: Row, laneById: (id: number) => Lane | undefined): Run | Broken {
  const columns = JSON.parse(row) as unknown[]
  const numbers = columns as number[]
  const nullable = columns as (number | null)[]
  const texts = columns as (string | null)[]
  const [seq, id] = [numbers[0] as number, String(columns[1])]
  const lane = laneById(numbers[2] as number)
  const errors = errorsOf(texts[22] ?? null)
  const parent = texts.length > 27 ? parentOf(texts[29] ?? null) : undefined
  if (id.length !== ID_LENGTH)
    return { seq, id, reason: `its id has ${id.length} characters instead of ${ID_LENGTH}` }
  if (lane === undefined) return { seq, id, reason: `its lane ${columns[2]} is unknown` }
  if (STATUSES[numbers[3] as number] === undefined)
    return { seq, id, reason: `its status ${columns[3]} is unknown` }
  for (let index = 4; index < 20; index++) {
    const value = nullable[index]
    if (value !== null && !Number.isSafeInteger(value))
      return { seq, id, reason: `its number ${index} is ${value}` }
  }
  if (errors === undefined) return { seq, id, reason: 'its errors are no JSON list of texts' }
  if (parent === 'broken') return { seq, id, reason: 'its parent is no JSON record' }
  return {
    seq,
    id,
    lane,
    status: numbers[3] as number,
    slot: numbers[4] as number,
    tied: numbers[5] as number,
    dueAt: numbers[6] as number,
    createdAt: numbers[7] as number,
    expiresAt: nullable[8] as number | null,
    attempt: numbers[9] as number,
    policy: {
      maxAttempts: numbers[10] as number,
      resultTtlMs: numbers[11] as number,
      staleTtlMs: numbers[12] as number,
      failureTtlMs: numbers[13] as number,
      retentionMs: numbers[14] as number,
      ...(nullable[23] === null ? {} : { everyMs: numbers[23] as number }),
    },
    startedAt: nullable[15] as number | null,
    finishedAt: nullable[16] as number | null,
    leaseUntil: nullable[17] as number | null,
    freshUntil: nullable[18] as number | null,
    staleUntil: nullable[19] as number | null,
    token: texts[20] as string | null,
    done: texts[21] as string | null,
    errors,
    attended: attendedOf(numbers[24], numbers[25], nullable[26]),
    params: texts[27] ?? '',
    extra: texts[28] ?? null,
    parent,
    progress: texts[30] ?? null,
    result: texts[31] ?? null,
  }
}

function attendedOf(ms = 0, running = 0, until: number | null = null): Run['attended'] {
  return until === null ? null : { ms, running: running === 1, until }
}

function errorsOf(text: string | null): string[] | undefined {
  if (text === null) return []
  const list = parsed(text)
  return Array.isArray(list) && list.every((error) => typeof error === 'string') ? list : undefined
}

function parentOf(text: string | null): Parent | null | 'broken' {
  if (text === null) return null
  const parent = parsed(text) as Parent | null | undefined
  return typeof parent === 'object' && parent !== null && typeof parent.id === 'string' ? parent : 'broken'
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export const isLive = (run: Run): boolean => run.status === PENDING || run.status === RUNNING
/** What has expired counts as gone, though the sweep may not have come by yet. */
export const isGone = (run: Run, now: number): boolean => run.expiresAt !== null && run.expiresAt <= now
export const isUsable = (run: Run, now: number): boolean =>
  run.status === COMPLETED && (run.staleUntil as number) > now && !isGone(run, now)
/** The end of the stretch in which one run answers all, however it ended. */
export const windowEnd = (run: Run): number => (run.startedAt ?? 0) + (run.policy.everyMs ?? 0)
export const rememberedUntil = (run: Run, failedAt: number): number =>
  Math.max(failedAt + run.policy.failureTtlMs, windowEnd(run))
export const isRemembered = (run: Run, now: number): boolean =>
  run.status === FAILED && rememberedUntil(run, run.finishedAt as number) > now

export function standingOf(run: Run): Standing {
  const standing: Standing = {
    id: run.id,
    name: run.lane.name,
    queue: run.lane.queue,
    status: STATUSES[run.status] as Status,
    priority: run.lane.priority,
    attempt: run.attempt,
    createdAt: run.createdAt,
    dueAt: run.dueAt,
    errors: run.errors,
  }
  if (run.startedAt !== null) standing.startedAt = run.startedAt
  if (run.finishedAt !== null) standing.finishedAt = run.finishedAt
  if (run.progress !== null) standing.progress = run.progress
  if (run.status === COMPLETED) {
    standing.result = run.result as string
    standing.freshUntil = run.freshUntil as number
    standing.staleUntil = run.staleUntil as number
  }
  return standing
}

export function entryOf(run: Run): Entry {
  const entry = standingOf(run) as Entry
  entry.params = run.params
  entry.policy = run.policy
  if (run.extra !== null) entry.extra = run.extra
  if (run.lane.group !== undefined) entry.group = run.lane.group
  if (run.parent) entry.parent = run.parent
  return entry
}

/** What a follow-up is told about the run, `value` being its result or its last error. */
export function parentFrom(run: Run, value: string | undefined): Parent {
  const parent: Parent = { id: run.id, name: run.lane.name, status: STATUSES[run.status] as Parent['status'] }
  return value === undefined ? parent : { ...parent, value }
}

/** Put off no longer than its `maxDelayMs` after the moment of its creation. */
export const dueOf = (draft: Draft, now: number, createdAt = now): number =>
  Math.max(
    now,
    Math.min(draft.dueAt ?? now + draft.delayMs, createdAt + (draft.maxDelayMs ?? Number.POSITIVE_INFINITY)),
  )
