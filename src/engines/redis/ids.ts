// How ids, policies and runs are spelled in Redis, and read back.
import type { Draft, Entry, FollowUp, Policy, Standing, Status } from '../../contract/engine.ts'
import { KEY_LENGTH } from '../../contract/engine.ts'
import { PLACE } from './layout.ts'

const scratch = Buffer.allocUnsafe(64)

export const SHORT_ID = 59
/** 88 hex characters as 59 of base64url: the key's 43, the run's 16. */
export function shortId(id: string): string {
  scratch.write(id, 'hex')
  return scratch.toString('base64url', 0, 32) + scratch.toString('base64url', 32, 44)
}

export function shortKey(key: string): string {
  scratch.write(key, 'hex')
  return scratch.toString('base64url', 0, 32)
}

/** An id as packIds() takes it: with a byte more, so that the key and the run both begin a character of base64url. */
export const spread60 = (id: string): string => `${id.slice(0, KEY_LENGTH)}00${id.slice(KEY_LENGTH)}`

/** Ids of a batch in one text, 60 characters each: the key's 43, one that means nothing, and the run's 16. At once, for each call of a Buffer's takes longer than the work. */
export const packIds = (spread: string): string => Buffer.from(spread, 'hex').toString('base64url')

/** The same of an id that is in base64url already. */
export const packable = (key: string, run: string): string => `${key}A${run}`

/** The run's part of the id, of a run's text. */
export const runIn = (text: string): string => text.slice(PLACE.run - 1, PLACE.created - 1)

/** The inverse, of ids spelled so. */
export function unpackIds(packed: string): string[] {
  const spread = Buffer.from(packed, 'base64url').toString('hex')
  const ids: string[] = []
  if (spread.length * 2 === packed.length * 3) {
    for (let at = 0; at < spread.length; at += 90)
      ids.push(spread.slice(at, at + 64) + spread.slice(at + 66, at + 90))
  } else {
    // Something in one of them is not of base64url, and must not move the others.
    for (let at = 0; at < packed.length; at += 60)
      ids.push(longId(packed.slice(at, at + 43) + packed.slice(at + 44, at + 60)))
  }
  return ids
}

/** The inverse of shortId() and shortKey(); of a ticket it gives the key. */
export function longId(short: string): string {
  const key = longKey(short)
  return short.length < SHORT_ID ? key : key + longRun(short)
}

/** The run's part, of its last 16 characters. */
export function longRun(short: string): string {
  scratch.write(short.slice(-16), 'base64url')
  return scratch.toString('hex', 0, 12)
}

function longKey(short: string): string {
  scratch.write(short.slice(0, 43), 'base64url')
  return scratch.toString('hex', 0, 32)
}

/**
 * `maxAttempts,resultTtl,staleTtl,failureTtl,retention` in base 36, 0 as nothing: 12 bytes for a usual one. And `,every`, if there is one.
 */
function packPolicy(policy: Policy): string {
  const { maxAttempts, resultTtlMs, staleTtlMs, failureTtlMs, retentionMs, everyMs = 0 } = policy
  const packed = `${base36(maxAttempts)},${pack(resultTtlMs)},${pack(staleTtlMs)},${pack(failureTtlMs)},${pack(retentionMs)}`
  return everyMs === 0 ? packed : `${packed},${pack(everyMs)}`
}

const base36 = (value: number): string => (value === 0 ? '' : Math.round(value).toString(36))
/** Whole seconds, as most times are, or after a point milliseconds. */
const pack = (ms: number): string => (ms % 1_000 === 0 ? base36(ms / 1_000) : `.${base36(ms)}`)

function unpack(text: string | undefined): number {
  if (!text) return 0
  return text.startsWith('.') ? Number.parseInt(text.slice(1), 36) : Number.parseInt(text, 36) * 1_000
}

function unpackPolicy(packed: string): Policy {
  const [attempts, resultTtl, staleTtl, failureTtl, retention, every] = packed.split(',')
  return {
    maxAttempts: attempts ? Number.parseInt(attempts, 36) : 0,
    resultTtlMs: unpack(resultTtl),
    staleTtlMs: unpack(staleTtl),
    failureTtlMs: unpack(failureTtl),
    retentionMs: unpack(retention),
    ...(every === undefined ? {} : { everyMs: unpack(every) }),
  }
}

/**
 * A follow-up as the scripts read it: the JSON text of a list of texts. Its own follow-ups are such texts
 * within it, so that a script hands them on as they are.
 */
export function followText({ on, draft, sameParent }: FollowUp): string {
  const text = JSON.stringify([
    on.charAt(0) + (sameParent ? '=' : ''),
    shortId(draft.id),
    kindText(draft),
    String(draft.priority),
    String(draft.delayMs),
    draft.dueAt === undefined ? '' : String(draft.dueAt),
    draft.params,
    ...(draft.then ?? []).map(followText),
  ])
  // Half a character pair has no UTF-8, and the reader in the scripts refuses it.
  return text.includes('\\ud') ? text.replace(/(?<!\\)((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/g, '$1\ufffd') : text
}

/** What a draft has in common with others, as layout.ts tells. */
export function kindText({ name, queue, policy, extra, group }: Draft): string {
  const packed = packPolicy(policy)
  if (queue === 'default' && extra === undefined && group === undefined) return `${packed}:${name}`
  const spelled = queue === 'default' ? '' : queue
  const extraLength = extra === undefined ? '' : Buffer.byteLength(extra)
  const groupLength = group === undefined ? '' : `,${Buffer.byteLength(group)}`
  return (
    `${packed};${Buffer.byteLength(spelled)},${extraLength}${groupLength}:` +
    `${spelled}${extra ?? ''}${group ?? ''}${name}`
  )
}

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
  text: string
  name: string
  queue: string
  policy: Policy
  extra?: string
  group?: string
}

// What runs have in common is read once. A process sees few kinds; one with many pays for reading them again.
const kinds = new Map<string, Kind>()

function readKind(text: string): Kind {
  const known = kinds.get(text)
  if (known !== undefined) return known
  const bytes = Buffer.from(text)
  const colon = bytes.indexOf(':')
  const [packed = '', lengths = ','] = bytes.toString('latin1', 0, colon).split(';')
  const [queue, extra, group] = lengths.split(',') as [string, string, string?]
  const extraAt = colon + 1 + Number(queue)
  const groupAt = extraAt + Number(extra)
  const nameAt = groupAt + Number(group ?? 0)
  const kind: Kind = {
    text,
    name: bytes.toString('utf8', nameAt),
    queue: bytes.toString('utf8', colon + 1, extraAt) || 'default',
    policy: unpackPolicy(packed),
    ...(extra === '' ? {} : { extra: bytes.toString('utf8', extraAt, groupAt) }),
    ...(group === undefined ? {} : { group: bytes.toString('utf8', groupAt, nameAt) }),
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
export function cut(text: string): Parts {
  const isNew = text.startsWith('n')
  const at = isNew ? PLACE.head - 1 : text.indexOf(';', PLACE.token - 1) + 1
  const kindEnd = at + Number.parseInt(text.slice(PLACE.length - 1, PLACE.head - 1), 16)
  const answer = isNew ? 0 : Number(text.slice(PLACE.answer - 1, PLACE.token - 1))
  const head = text.slice(0, at)
  if (Buffer.byteLength(text) === text.length) {
    const end = text.length - answer
    return {
      head,
      kind: readKind(text.slice(at, kindEnd)),
      params: text.slice(kindEnd, end),
      result: text.slice(end),
    }
  }
  const bytes = Buffer.from(text)
  const end = bytes.length - answer
  return {
    head,
    kind: readKind(bytes.toString('utf8', at, kindEnd)),
    params: bytes.toString('utf8', kindEnd, end),
    result: bytes.toString('utf8', end),
  }
}

/** 13 digits, in milliseconds; the place is one of those told in layout.ts. */
export const momentAt = (text: string, place: number): number => Number(text.slice(place - 1, place + 12))

function standing([, id, beside]: Row, { head, kind, result }: Parts): Standing {
  const letter = head.charAt(0)
  const createdAt = momentAt(head, PLACE.created)
  const run: Standing = {
    id,
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
  run.dueAt = momentAt(head, PLACE.head)
  run.attempt = Number(head.slice(PLACE.attempt - 1, PLACE.attempt + 3))
  run.priority = Number(head.slice(PLACE.priority - 1, PLACE.finished - 1))
  const begun = momentAt(head, PLACE.begun)
  const finished = momentAt(head, PLACE.finished)
  if (begun > 0) run.startedAt = begun
  if (finished > 0) run.finishedAt = finished
  if (beside?.[6] != null) run.errors = beside[6] as string[]
  if (beside?.[5] != null) run.progress = beside[5] as string
  if (letter === 'c') {
    run.result = (beside?.[1] as string | null | undefined) ?? result
    run.freshUntil = momentAt(head, PLACE.fresh)
    run.staleUntil = momentAt(head, PLACE.usable)
  }
  return run
}

export const readStanding = (row: Row): Standing => standing(row, cut(row[0]))

/** Runs that have ended, in one text: of each its id, in four places how many bytes its text has, and that. */
export function endedIn(told: string): Standing[] {
  const bytes = Buffer.byteLength(told) === told.length ? undefined : Buffer.from(told)
  const part = (from: number, to: number): string =>
    bytes === undefined ? told.slice(from, to) : bytes.toString('utf8', from, to)
  const runs: Standing[] = []
  for (let at = 0; at < (bytes ?? told).length; ) {
    const id = longId(part(at, at + SHORT_ID))
    const from = at + SHORT_ID + 4
    at = from + Number(part(from - 4, from))
    runs.push(readStanding([part(from, at), id]))
  }
  return runs
}

export function readEntry(row: Row, parts = cut(row[0])): Entry {
  const [params, , parent, name, value] = (row[2] ?? []) as (string | null | undefined)[]
  const { policy, extra, group } = parts.kind
  const entry = standing(row, parts) as Entry
  entry.params = params ?? parts.params
  entry.policy = { ...policy }
  if (extra !== undefined) entry.extra = extra
  if (group !== undefined) entry.group = group
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

/** As scripts answer it, with its id spelled short. */
export const readRow = ([text, id, beside]: Row): Entry => readEntry([text, longId(id), beside])

/** What scripts report as malformed, a name and a reason each in turn. */
export function readMalformed(list: unknown): { id: string; reason: string }[] {
  if (!Array.isArray(list)) return []
  const read: { id: string; reason: string }[] = []
  for (let index = 0; index + 1 < list.length; index += 2) {
    read.push({ id: longId(String(list[index])), reason: String(list[index + 1]) })
  }
  return read
}
