// Between the contract's records and the JSON that the functions on the server take and give.
import type {
  Claimed,
  Draft,
  Entry,
  Lease,
  Outcome,
  Parent,
  Policy,
  Standing,
  Status,
  Verdict,
} from '../../engine.ts'
import { KEY_LENGTH } from '../../engine.ts'

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
  if (row[21] !== null) entry.extra = row[21]
  if (row[22] !== null) entry.parent = row[22]
  return entry
}

export const claimedOf = (row: EntryRow): Claimed => ({ entry: entryOf(row), token: row[23] as string })

export interface Named {
  ord: number
  key: string
  tail: string
  aside: number
}

/** Where a run is found; undefined for what no id can be, which is found nowhere. */
export function named(id: string, ord: number): Named | undefined {
  if (!/^[0-9a-f]{88}$/.test(id)) return undefined
  const tail = id.slice(KEY_LENGTH)
  return {
    ord,
    key: `\\x${id.slice(0, KEY_LENGTH)}`,
    tail: `\\x${tail}`,
    // The same as aside_of() on the server: 48 bits of the id's own part.
    aside: 2 + Number.parseInt(tail.slice(0, 12), 16),
  }
}

/** In order of their keys, so that two batches never wait for each other; of one key, in the order given. */
function inOrder<T extends { id: string }>(items: readonly T[]): [item: T, ord: number][] {
  return items.map((item, ord) => [item, ord] as [T, number]).sort(byKey)
}

const byKey = ([a]: [{ id: string }, number], [b]: [{ id: string }, number]): number => {
  const [one, two] = [a.id.slice(0, KEY_LENGTH), b.id.slice(0, KEY_LENGTH)]
  return one < two ? -1 : one > two ? 1 : 0
}

export function draftsText(drafts: readonly Draft[]): string {
  let last = ''
  const asks = inOrder(drafts).map(([draft, ord]) => {
    const key = draft.id.slice(0, KEY_LENGTH)
    const first = key !== last
    last = key
    return ask(draft, ord, first)
  })
  return JSON.stringify(asks)
}

function ask(draft: Draft, ord = 0, first = true): object {
  const { id, policy, dueAt, then = [] } = draft
  return {
    ...named(id, ord),
    first,
    name: draft.name,
    queue: draft.queue,
    priority: draft.priority,
    due: dueAt === undefined ? undefined : Math.round(dueAt),
    delay: Math.round(draft.delayMs),
    ...policyOf(policy),
    refresh: draft.refresh || undefined,
    mismatch: draft.onMismatch,
    watch: draft.watch || undefined,
    extra: draft.extra,
    params: draft.params,
    then:
      then.length === 0
        ? undefined
        : then.map(({ on, sameParent, draft }) => ({ on, sameParent, draft: ask(draft) })),
  }
}

const policyOf = (policy: Policy): object => ({
  attempts: policy.maxAttempts,
  result_ttl: policy.resultTtlMs,
  stale_ttl: policy.staleTtlMs,
  failure_ttl: policy.failureTtlMs,
  retention: policy.retentionMs,
})

export interface Admitted {
  now: number
  answers: [
    ord: number,
    outcome: Verdict['outcome'],
    sameParams: boolean,
    refreshId: string | null,
    run: StandingRow,
  ][]
}

export function verdictsOf(drafts: readonly Draft[], { now, answers }: Admitted): Verdict[] {
  const verdicts: Verdict[] = new Array(drafts.length)
  for (const [ord, outcome, sameParams, refreshId, run] of answers) {
    verdicts[ord] = {
      outcome,
      entry: standingOf(run),
      sameParams,
      ...(refreshId === null ? {} : { refreshId }),
    }
  }
  // What is newly created is as it was asked for.
  for (let ord = 0; ord < drafts.length; ord++) {
    verdicts[ord] ??= { outcome: 'created', entry: createdOf(drafts[ord] as Draft, now), sameParams: true }
  }
  return verdicts
}

const createdOf = ({ id, name, queue, priority, dueAt, delayMs }: Draft, now: number): Standing => ({
  id,
  name,
  queue,
  status: 'pending',
  priority,
  attempt: 0,
  createdAt: now,
  dueAt: Math.max(now, dueAt === undefined ? now + Math.round(delayMs) : Math.round(dueAt)),
  errors: [],
})

export function outcomesText(outcomes: readonly Outcome[]): string {
  const seen = new Set<string>()
  const texts = inOrder(outcomes).map(([outcome, ord]) => {
    const { id, token, kind, then = [] } = outcome
    const first = !seen.has(id)
    seen.add(id)
    return {
      ...named(id, ord),
      first,
      token,
      kind,
      ord,
      value: kind === 'completed' ? outcome.result : kind === 'released' ? undefined : outcome.error,
      delay: kind === 'retry' ? Math.round(outcome.delayMs) : undefined,
      then: then.length === 0 ? undefined : then.map((draft) => ask(draft)),
    }
  })
  return JSON.stringify(texts)
}

export function leasesText(leases: readonly Lease[]): string {
  return JSON.stringify(
    inOrder(leases).map(([{ id, token, progress }, ord]) => ({ ord, ...named(id, ord), token, progress })),
  )
}

export function namedText(ids: readonly string[]): string {
  return JSON.stringify(ids.map((id, ord) => ({ ord, ...named(id, ord) })))
}
