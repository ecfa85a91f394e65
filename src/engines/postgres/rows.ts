// The rows that the functions on the server answer, as the contract's records.
import type { Claimed, Draft, Entry, Parent, Standing, Status, Verdict } from '../../contract/engine.ts'
import type { Asked } from './arguments.ts'

export const STATUSES: readonly Status[] = ['pending', 'running', 'completed', 'failed', 'cancelled']

/** As `standing()` and `entry()` on the server lay it out. */
type StandingRow = [
  id: string,
  name: string,
  queue: string,
  status: number,
  priority: number,
  attempt: number,
  createdAt: number,
  dueAt: number,
  startedAt: number | null,
  finishedAt: number | null,
  progress: string | null,
  result: string | null,
  freshUntil: number | null,
  staleUntil: number | null,
  errors: string[],
]
export type EntryRow = [
  ...StandingRow,
  params: string,
  maxAttempts: number,
  resultTtlMs: number,
  staleTtlMs: number,
  failureTtlMs: number,
  retentionMs: number,
  extra: string | null,
  parent: Parent | null,
  token: string | null,
  everyMs: number,
  group: string,
]

export function standingOf(row: StandingRow | EntryRow): Standing {
  const [id, name, queue, status, priority, attempt, createdAt, dueAt] = row
  const standing: Standing = {
    id,
    name,
    queue,
    status: STATUSES[status] as Status,
    priority,
    attempt,
    createdAt,
    dueAt,
    errors: row[14],
  }
  if (row[8] !== null) standing.startedAt = row[8]
  if (row[9] !== null) standing.finishedAt = row[9]
  if (row[10] !== null) standing.progress = row[10]
  if (standing.status === 'completed') {
    standing.result = row[11] as string
    standing.freshUntil = row[12] as number
    standing.staleUntil = row[13] as number
  }
  return standing
}

export function entryOf(row: EntryRow): Entry {
  const entry = standingOf(row) as Entry
  entry.params = row[15]
  entry.policy = {
    maxAttempts: row[16],
    resultTtlMs: row[17],
    staleTtlMs: row[18],
    failureTtlMs: row[19],
    retentionMs: row[20],
  }
  if (row[24] > 0) entry.policy.everyMs = row[24]
  if (row[25] !== '') entry.group = row[25].slice(1)
  if (row[21] !== null) entry.extra = row[21]
  if (row[22] !== null) entry.parent = row[22]
  return entry
}

export const claimedOf = (row: EntryRow): Claimed => ({ entry: entryOf(row), token: row[23] as string })

export interface Admitted {
  now: number
  answers: [
    place: number,
    outcome: Verdict['outcome'],
    sameParams: boolean,
    refreshId: string | null,
    run: StandingRow,
  ][]
}

export function verdictsOf(
  drafts: readonly Draft[],
  { order }: Asked,
  { now, answers }: Admitted,
): Verdict[] {
  const verdicts: Verdict[] = new Array(drafts.length)
  for (const [place, outcome, sameParams, refreshId, run] of answers) {
    verdicts[order[place] as number] = {
      outcome,
      entry: standingOf(run),
      sameParams,
      ...(refreshId === null ? {} : { refreshId }),
      ...(outcome === 'hit' ? { freshMs: (run[12] as number) - now } : {}),
    }
  }
  // What is newly created is as it was asked for.
  for (let ord = 0; ord < drafts.length; ord++) {
    verdicts[ord] ??= { outcome: 'created', entry: createdOf(drafts[ord] as Draft, now), sameParams: true }
  }
  return verdicts
}

const createdOf = (
  { id, name, queue, priority, dueAt, delayMs, maxDelayMs }: Draft,
  now: number,
): Standing => ({
  id,
  name,
  queue,
  status: 'pending',
  priority,
  attempt: 0,
  createdAt: now,
  dueAt: Math.max(
    now,
    Math.min(
      dueAt === undefined ? now + Math.round(delayMs) : Math.round(dueAt),
      now + Math.round(maxDelayMs ?? Number.POSITIVE_INFINITY),
    ),
  ),
  errors: [],
})
