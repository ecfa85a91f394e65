// What lies in the Keyv store of tasks: under which names, as which text, and for how long.
import { createHash } from 'node:crypto'
import type { Attended, Draft, Entry, FollowUp, Parent, Standing } from '../../contract/engine.ts'
import { isEnded } from '../../contract/engine.ts'
import type { Write } from '../../drivers/keyv.ts'

export interface Run extends Entry {
  /** Counts the messages that announce it: one that carries another number is out of date. */
  ticket: number
  token?: string
  lastToken?: string
  leaseUntil?: number
  rememberedUntil?: number
  expiresAt?: number
  /** Who follows when it ends. */
  then?: FollowUp[]
  /** When somebody last wondered why nobody takes it. */
  remindedAt?: number
  /** `timer` numbers the timers that look whether anybody still asks: another number is out of date. */
  attended?: Attended & { until: number; timer: number }
}

/** What stands under a key. `accepted` is the run whose result is fresh or usable; often `run` itself. */
export interface Slot {
  run?: Run
  accepted?: Run
  /** Waits behind `run`. */
  next?: Run
}

/** Sums since the store began, spread over some documents so that changes seldom meet. */
export interface Tally {
  totals: Record<string, number>
  /** [queue, name, pending, running], by queue and name. */
  lanes: Record<string, [queue: string, name: string, pending: number, running: number]>
}

// The times that count stand in the document; the store's own time to live only clears away, so it is generous to clocks that differ.
const GRACE_MS = 60_000
/** What could not be read is kept for whoever wants to look at it. */
export const SET_ASIDE_MS = 7 * 86_400_000
const VERSION = 1

export const isLive = (run: Run): boolean => !isEnded(run.status)

/** Keys of the store. No colon: Keyv takes what stands before one for its own namespace. */
export class Names {
  readonly #prefix: string
  readonly #pattern: RegExp
  readonly #gatePattern: RegExp

  constructor(prefix: string) {
    this.#prefix = prefix
    const start = `(?:^|:)${prefix.replaceAll('.', '\\.')}\\.`
    this.#pattern = new RegExp(`${start}[kr]\\.[0-9a-f]+$`)
    this.#gatePattern = new RegExp(`${start}g\\.([0-9a-f]+)$`)
  }

  slot(key: string): string {
    return `${this.#prefix}.k.${key}`
  }

  /** A run that was replaced, under its id. */
  aside(id: string): string {
    return `${this.#prefix}.r.${id}`
  }

  tally(shard: number): string {
    return `${this.#prefix}.tally.${shard}`
  }

  lanes(): string {
    return `${this.#prefix}.lanes`
  }

  paused(): string {
    return `${this.#prefix}.paused`
  }

  /** The gate of a group, or a part of its line. */
  gate(id: string): string {
    return `${this.#prefix}.g.${id.slice(1)}`
  }

  damaged(key: string): string {
    return `${this.#prefix}.damaged.${key}`
  }

  lock(key: string): string {
    return `${this.#prefix}.lock.${key}`
  }

  /** Whose gate lies under this key of the store, if it is one. */
  gateAt(key: string): string | undefined {
    const found = this.#gatePattern.exec(key)?.[1]
    return found === undefined ? undefined : `@${found}`
  }

  holdsRuns(key: string): boolean {
    return this.#pattern.test(key)
  }
}

/** Undefined for what is no such document. */
export function readSlot(text: string): Slot | undefined {
  const json = parsed(text)
  if (json?.v !== VERSION) return undefined
  const { run, accepted, next } = json as { run?: unknown; accepted?: unknown; next?: unknown }
  if (run !== undefined && !isRun(run)) return undefined
  if (next !== undefined && !isRun(next)) return undefined
  const slot: Slot = { ...(run === undefined ? {} : { run }), ...(next === undefined ? {} : { next }) }
  if (accepted === true) return run === undefined ? undefined : { ...slot, accepted: run }
  if (accepted !== undefined && !isRun(accepted)) return undefined
  return accepted === undefined ? slot : { ...slot, accepted }
}

/** What to write for a slot; undefined when nothing is left to keep. */
export function writeSlot(name: string, slot: Slot, now: number): Write | undefined {
  const { run, accepted, next } = slot
  if (run === undefined && accepted === undefined) return undefined
  const value = JSON.stringify({
    v: VERSION,
    run,
    accepted: accepted !== undefined && accepted === run ? true : accepted,
    next,
  })
  if (run !== undefined && isLive(run)) return { key: name, value }
  const expiresAt = Math.max(run?.expiresAt ?? 0, accepted?.expiresAt ?? 0)
  return { key: name, value, ttlMs: Math.max(0, expiresAt - now) + GRACE_MS }
}

export function readAside(text: string): Run | undefined {
  const json = parsed(text)
  return json?.v === VERSION && isRun(json.aside) ? json.aside : undefined
}

export function writeAside(name: string, run: Run, now: number): Write {
  const value = JSON.stringify({ v: VERSION, aside: run })
  if (isLive(run)) return { key: name, value }
  return { key: name, value, ttlMs: Math.max(0, (run.expiresAt ?? now) - now) + GRACE_MS }
}

/** Every run in a document of either kind. */
export function runsIn(text: string): Run[] {
  const aside = readAside(text)
  if (aside !== undefined) return [aside]
  const slot = readSlot(text)
  return [...new Set([slot?.run, slot?.accepted, slot?.next])].filter((run) => run !== undefined)
}

export function readTally(text: string | undefined): Tally {
  const json = text === undefined ? undefined : parsed(text)
  const { totals, lanes } = (json ?? {}) as Partial<Tally>
  return { totals: { ...totals }, lanes: { ...lanes } }
}

/** Put off no longer than its `maxDelayMs` after the moment of its creation. */
export const dueOf = (draft: Draft, now: number, createdAt = now): number =>
  Math.max(
    now,
    Math.min(draft.dueAt ?? now + draft.delayMs, createdAt + (draft.maxDelayMs ?? Number.POSITIVE_INFINITY)),
  )

/** Names the gate of a group: what all of its runs pass. */
export const gateOf = (name: string, group: string): string =>
  `@${createHash('sha256')
    .update(JSON.stringify([name, group]))
    .digest('hex')
    .slice(0, 32)}`

export function runOf(draft: Draft, now: number, parent: Parent | undefined): Run {
  const { id, name, queue, priority, params, policy, extra, group, attended } = draft
  return {
    id,
    name,
    queue,
    status: 'pending',
    priority,
    attempt: 0,
    createdAt: now,
    dueAt: dueOf(draft, now),
    errors: [],
    params,
    policy: { ...policy },
    ...(extra === undefined ? {} : { extra }),
    ...(group === undefined ? {} : { group }),
    ...(attended === undefined ? {} : { attended: { ...attended, until: now + attended.ms, timer: 0 } }),
    ...(parent === undefined ? {} : { parent }),
    ...(draft.then === undefined || draft.then.length === 0 ? {} : { then: [...draft.then] }),
    ticket: 0,
  }
}

export function standingOf(run: Run): Standing {
  const { id, name, queue, status, priority, attempt, createdAt, dueAt, errors } = run
  const standing: Standing = { id, name, queue, status, priority, attempt, createdAt, dueAt, errors }
  if (run.startedAt !== undefined) standing.startedAt = run.startedAt
  if (run.finishedAt !== undefined) standing.finishedAt = run.finishedAt
  if (run.progress !== undefined) standing.progress = run.progress
  if (status === 'completed') {
    standing.result = run.result as string
    standing.freshUntil = run.freshUntil as number
    standing.staleUntil = run.staleUntil as number
  }
  return standing
}

export function entryOf(run: Run): Entry {
  const entry: Entry = { ...standingOf(run), params: run.params, policy: { ...run.policy } }
  if (run.extra !== undefined) entry.extra = run.extra
  if (run.group !== undefined) entry.group = run.group
  if (run.parent !== undefined) entry.parent = run.parent
  return entry
}

export function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const json: unknown = JSON.parse(text)
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

const TEXTS = ['id', 'name', 'queue', 'status', 'params'] as const
const NUMBERS = ['priority', 'attempt', 'createdAt', 'dueAt', 'ticket'] as const

function isRun(value: unknown): value is Run {
  if (typeof value !== 'object' || value === null) return false
  const run = value as Run
  return (
    TEXTS.every((field) => typeof run[field] === 'string') &&
    NUMBERS.every((field) => Number.isFinite(run[field])) &&
    typeof run.policy === 'object' &&
    Array.isArray(run.errors) &&
    (run.status !== 'completed' || typeof run.result === 'string')
  )
}
