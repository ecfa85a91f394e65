// How ids, policies and runs are spelled in Redis, and read back.
import type { Draft, Entry, FollowUp, Policy, Standing, Status } from '../../engine.ts'

const scratch = Buffer.allocUnsafe(64)

/** 88 hex characters as 59 of base64url: the key's 43, the run's 16. */
export function shortId(id: string): string {
  scratch.write(id, 'hex')
  return scratch.toString('base64url', 0, 32) + scratch.toString('base64url', 32, 44)
}

export function shortKey(key: string): string {
  scratch.write(key, 'hex')
  return scratch.toString('base64url', 0, 32)
}

/** The inverse of both; of a ticket it gives the key. */
export function longId(short: string): string {
  scratch.write(short.slice(0, 43), 'base64url')
  const key = scratch.toString('hex', 0, 32)
  if (short.length < 59) return key
  scratch.write(short.slice(43), 'base64url')
  return key + scratch.toString('hex', 0, 12)
}

/** `maxAttempts,resultTtl,staleTtl,failureTtl,retention` in base 36, 0 as nothing: 11 bytes for a usual one. */
export function packPolicy({
  maxAttempts,
  resultTtlMs,
  staleTtlMs,
  failureTtlMs,
  retentionMs,
}: Policy): string {
  return `${pack(maxAttempts)},${pack(resultTtlMs)},${pack(staleTtlMs)},${pack(failureTtlMs)},${pack(retentionMs)}`
}

const pack = (value: number): string => (value === 0 ? '' : Math.round(value).toString(36))
const unpack = (text: string | undefined): number => (text ? Number.parseInt(text, 36) : 0)

function unpackPolicy(packed: string): Policy {
  const [maxAttempts, resultTtlMs, staleTtlMs, failureTtlMs, retentionMs] = packed.split(',').map(unpack)
  return {
    maxAttempts: maxAttempts ?? 0,
    resultTtlMs: resultTtlMs ?? 0,
    staleTtlMs: staleTtlMs ?? 0,
    failureTtlMs: failureTtlMs ?? 0,
    retentionMs: retentionMs ?? 0,
  }
}

/**
 * A follow-up as the scripts read it: the JSON text of a list of texts. Its own follow-ups are such texts within it, so that a script hands
 * them on as they are.
 */
export function followText({ on, draft, sameParent }: FollowUp): string {
  const text = JSON.stringify([
    on.charAt(0) + (sameParent ? '=' : ''),
    shortId(draft.id),
    draft.name,
    draft.queue,
    String(draft.priority),
    packPolicy(draft.policy),
    extraText(draft),
    String(draft.delayMs),
    draft.dueAt === undefined ? '' : String(draft.dueAt),
    draft.params,
    ...(draft.then ?? []).map(followText),
  ])
  // Half a character pair has no UTF-8, and the reader in the scripts refuses it.
  return text.includes('\\ud') ? text.replace(/(?<!\\)((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/g, '$1\ufffd') : text
}

/** Marked, so that an empty text is told from none. */
export const extraText = ({ extra }: Draft): string => (extra === undefined ? '' : `x${extra}`)

/** A run as the scripts answer it: its text, its id, and what lies beside the text, where that says there is something. */
export type Row = [text: string, id: string, beside?: (string | null | (string | null)[])[] | undefined]

const STATUS: Record<string, Status> = {
  n: 'pending',
  p: 'pending',
  r: 'running',
  c: 'completed',
  f: 'failed',
  x: 'cancelled',
}
const PARENT_STATUS = { c: 'completed', f: 'failed', x: 'cancelled' } as const

interface Kind {
  name: string
  queue: string
  policy: Policy
  extra?: string
}

// What runs have in common is read once. A process sees few kinds; one with many pays for reading them again.
const kinds = new Map<string, Kind>()

function readKind(text: string): Kind {
  const known = kinds.get(text)
  if (known !== undefined) return known
  const bytes = Buffer.from(text)
  const colon = bytes.indexOf(':')
  const [packed, lengths] = bytes.toString('latin1', 0, colon).split(';') as [string, string]
  const [queue, name, extra] = lengths.split(',') as [string, string, string]
  const nameAt = colon + 1 + Number(queue)
  const extraAt = nameAt + Number(name)
  const kind: Kind = {
    name: bytes.toString('utf8', nameAt, extraAt),
    queue: bytes.toString('utf8', colon + 1, nameAt) || 'default',
    policy: unpackPolicy(packed),
    ...(extra === '' ? {} : { extra: bytes.toString('utf8', extraAt) }),
  }
  if (kinds.size >= 1_000) kinds.clear()
  kinds.set(text, kind)
  return kind
}

interface Parts {
  /** The text up to the kind: plain ASCII, at fixed places. */
  head: string
  kind: Kind
  params: string
  result: string
}

/** Lengths are in bytes: text that is not plain ASCII is cut as bytes. */
function cut(text: string): Parts {
  const at = text.charAt(16) === 'n' ? 35 : text.indexOf(';', 108) + 1
  const kindEnd = at + Number(text.slice(30, 35))
  const head = text.slice(0, at)
  if (Buffer.byteLength(text) === text.length) {
    const colon = text.indexOf(':', kindEnd)
    const paramsEnd = colon + 1 + Number(text.slice(kindEnd, colon))
    return {
      head,
      kind: readKind(text.slice(at, kindEnd)),
      params: text.slice(colon + 1, paramsEnd),
      result: text.slice(paramsEnd),
    }
  }
  const bytes = Buffer.from(text)
  const colon = bytes.indexOf(':', kindEnd)
  const paramsEnd = colon + 1 + Number(bytes.toString('latin1', kindEnd, colon))
  return {
    head,
    kind: readKind(bytes.toString('utf8', at, kindEnd)),
    params: bytes.toString('utf8', colon + 1, paramsEnd),
    result: bytes.toString('utf8', paramsEnd),
  }
}

/** The places are those told in lua/entries.ts. */
function standing([, id, beside]: Row, { head, kind, result }: Parts): Standing {
  const letter = head.charAt(16)
  const createdAt = Number(head.slice(17, 30))
  const run: Standing = {
    id: longId(id),
    name: kind.name,
    queue: kind.queue,
    status: STATUS[letter] as Status,
    priority: 0,
    attempt: 0,
    createdAt,
    dueAt: createdAt,
    errors: [],
  }
  if (letter === 'n') return run
  run.dueAt = Number(head.slice(35, 48))
  run.attempt = Number(head.slice(100, 104))
  run.priority = Number(head.slice(104, 108))
  const begun = Number(head.slice(48, 61))
  const finished = Number(head.slice(61, 74))
  if (begun > 0) run.startedAt = begun
  if (finished > 0) run.finishedAt = finished
  if (beside?.[6] != null) run.errors = beside[6] as string[]
  if (beside?.[5] != null) run.progress = beside[5] as string
  if (letter === 'c') {
    run.result = (beside?.[1] as string | null | undefined) ?? result
    run.freshUntil = Number(head.slice(74, 87))
    run.staleUntil = Number(head.slice(87, 100))
  }
  return run
}

export const readStanding = (row: Row): Standing => standing(row, cut(row[0]))

export function readEntry(row: Row): Entry {
  const parts = cut(row[0])
  const [params, , parent, name, value] = (row[2] ?? []) as (string | null | undefined)[]
  const { policy, extra } = parts.kind
  const entry = standing(row, parts) as Entry
  entry.params = params ?? parts.params
  entry.policy = { ...policy }
  if (extra !== undefined) entry.extra = extra
  if (parent != null) {
    entry.parent = {
      id: longId(parent.slice(0, 59)),
      name: name ?? '',
      status: PARENT_STATUS[parent.charAt(59) as 'c'],
      ...(value == null ? {} : { value }),
    }
  }
  return entry
}

/** What scripts report as malformed, a name and a reason each in turn. */
export function readMalformed(list: unknown): { id: string; reason: string }[] {
  if (!Array.isArray(list)) return []
  const read: { id: string; reason: string }[] = []
  for (let index = 0; index + 1 < list.length; index += 2) {
    read.push({ id: longId(String(list[index])), reason: String(list[index + 1]) })
  }
  return read
}
