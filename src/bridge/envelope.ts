// The envelope that messages travel in between languages: its shape, what each side checks, its bytes, its annotations.
import { randomUUID } from 'node:crypto'
import { DeferqError } from '../base/errors.ts'
import type { Properties } from '../contract/transport.ts'
import type { Json } from './envelope-text.ts'
import { isObject, parseBody, stringifyExact, withMember, withoutMember } from './envelope-text.ts'

export const SCHEMA_VERSION = 1
export const LANGUAGES = ['php', 'go', 'python', 'java', 'dotnet', 'node'] as const
export const DEAD_LETTER_REASONS = ['failed', 'unknown_urn', 'poison'] as const

export type Language = (typeof LANGUAGES)[number]
export type DeadLetterReason = (typeof DEAD_LETTER_REASONS)[number]

/** Made with the message, and never changed after. Members beside these are kept. */
export interface Meta {
  id: string
  queue: string
  lang: Language
  schema_version: number
  /** Epoch milliseconds. */
  created_at: number
  [other: string]: unknown
}

/** Why a message was set aside. */
export interface DeadLetter {
  reason: DeadLetterReason
  error: string | null
  exception: string | null
  failed_at: number
  original_queue: string
  attempts: number
  lang: Language
  [other: string]: unknown
}

/** Its members are spelled as they travel. Those beside these are kept. */
export interface Envelope {
  /** The URN that names what it is about. */
  job: string
  trace_id: string
  data: Record<string, unknown>
  meta: Meta
  /** Failed attempts so far. */
  attempts: number
  dead_letter?: DeadLetter
  /** When it was last sent back from where it was set aside, in epoch milliseconds. */
  redriven_at?: number
  [other: string]: unknown
}

/** What a consumer finds wrong, in the order in which it looks; before that, a body that can't be read at all. */
export type Refusal =
  | 'undecodable'
  | 'missing_urn'
  | 'missing_meta'
  | 'unsupported_schema_version'
  | 'invalid_data'
  | 'missing_trace_id'
  | 'invalid_attempts'

export type Decoded =
  | { envelope: Envelope; refusal?: undefined }
  | {
      envelope?: undefined
      refusal: Refusal
      error: string
      /** What there is of an envelope, where the body is a JSON object at all. */
      found?: Readonly<Record<string, unknown>>
    }

export interface EnvelopeOptions {
  /** ('default') */
  queue?: string
  /** Carried on unchanged; a UUID is made where it is blank. */
  traceId?: string
  /** A UUIDv4, made unless given: whoever sends again after an unclear failure gives the same one. */
  id?: string
  lang?: Language
}

export function newEnvelope(
  urn: string,
  data: Record<string, unknown> = {},
  { queue = 'default', traceId, id = randomUUID(), lang = 'node' }: EnvelopeOptions = {},
): Envelope {
  return {
    job: urn,
    trace_id: isBlank(traceId) ? randomUUID() : traceId,
    data,
    meta: { id, queue, lang, schema_version: SCHEMA_VERSION, created_at: Date.now() },
    attempts: 0,
  }
}

export const isBlank = (text: unknown): text is undefined =>
  text === undefined || (typeof text === 'string' && text.trim() === '')

/** Compact UTF-8 JSON, its members always in the same order; INVALID_ENVELOPE with every `path: reason` that is wrong with it. */
export function encodeEnvelope(envelope: Envelope): Buffer {
  const violations = violationsOf(envelope)
  if (violations.length > 0) {
    throw new DeferqError('INVALID_ENVELOPE', `This is no envelope: ${violations.join(', ')}.`, {
      details: { violations },
    })
  }
  const { job, trace_id, data, meta, attempts, dead_letter, urn: _alias, ...others } = envelope
  const ordered = {
    job,
    trace_id,
    data,
    meta: inOrder(meta, ['id', 'queue', 'lang', 'schema_version', 'created_at']),
    attempts,
    ...(dead_letter === undefined
      ? {}
      : {
          dead_letter: inOrder(dead_letter, [
            'reason',
            'error',
            'exception',
            'failed_at',
            'original_queue',
            'attempts',
            'lang',
          ]),
        }),
    ...others,
  }
  return Buffer.from(stringifyExact(ordered))
}

const inOrder = (object: Json, names: readonly string[]): Json => ({
  ...Object.fromEntries(names.map((name) => [name, object[name]])),
  ...Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name))),
})

/** The envelope of a body, or the first thing that is wrong with it. Integers that a double can't hold are BigInts in it. */
export function decodeEnvelope(body: Uint8Array): Decoded {
  const parsed = parseBody(body)
  if ('error' in parsed) return { refusal: 'undecodable', error: `The body can't be read: ${parsed.error}.` }
  const { value: found } = parsed
  if (!isObject(found))
    return { refusal: 'undecodable', error: `The body is no JSON object: ${kindOf(found)}.` }
  const { job: name, urn, trace_id, data, meta, attempts, ...others } = found
  const job = name ?? urn
  const refuse = (refusal: Refusal, error: string): Decoded => ({ refusal, error, found })
  if (typeof job !== 'string' || job === '')
    return refuse('missing_urn', 'job is no text that names anything.')
  if (!isObject(meta)) return refuse('missing_meta', `meta is ${kindOf(meta)}, and no object.`)
  if (meta.schema_version !== SCHEMA_VERSION) {
    const version = stringifyExact(meta.schema_version) ?? 'missing'
    return refuse('unsupported_schema_version', `meta.schema_version is ${version.slice(0, 60)}, and not 1.`)
  }
  if (!isObject(data)) return refuse('invalid_data', `data is ${kindOf(data)}, and no object.`)
  if (typeof trace_id !== 'string' || trace_id === '')
    return refuse('missing_trace_id', 'trace_id is no text that traces anything.')
  if (!Number.isInteger(attempts) || (attempts as number) < 0)
    return refuse('invalid_attempts', `attempts is no whole number from 0.`)
  return {
    envelope: { job, trace_id, data, meta: meta as Meta, attempts: attempts as number, ...others },
  }
}

const kindOf = (value: unknown): string =>
  value === undefined
    ? 'missing'
    : value === null
      ? 'null'
      : Array.isArray(value)
        ? 'a list'
        : `a ${typeof value}`

type Check = (value: unknown) => Violation | undefined
type Violation =
  | 'not_an_object'
  | 'missing_required'
  | 'wrong_type'
  | 'empty_string'
  | 'not_a_uuid'
  | 'not_in_enum'
  | 'wrong_const'
  | 'below_minimum'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i

const text: Check = (value) =>
  typeof value !== 'string' || !value.isWellFormed()
    ? 'wrong_type'
    : value === ''
      ? 'empty_string'
      : undefined
const textOrNull: Check = (value) => (value === null || typeof value === 'string' ? undefined : 'wrong_type')
const uuid: Check = (value) => text(value) ?? (UUID.test(value as string) ? undefined : 'not_a_uuid')
const count: Check = (value) =>
  !Number.isSafeInteger(value) ? 'wrong_type' : (value as number) < 0 ? 'below_minimum' : undefined
const oneOf =
  (choices: readonly string[]): Check =>
  (value) =>
    typeof value !== 'string' ? 'wrong_type' : choices.includes(value) ? undefined : 'not_in_enum'
const version: Check = (value) =>
  typeof value !== 'number' ? 'wrong_type' : value === SCHEMA_VERSION ? undefined : 'wrong_const'

const META: Record<string, Check> = {
  id: uuid,
  queue: text,
  lang: oneOf(LANGUAGES),
  schema_version: version,
  created_at: count,
}
const DEAD_LETTER: Record<string, Check> = {
  reason: oneOf(DEAD_LETTER_REASONS),
  error: textOrNull,
  exception: textOrNull,
  failed_at: count,
  original_queue: text,
  attempts: count,
  lang: oneOf(LANGUAGES),
}

/** What a producer finds wrong with an envelope, each as `path: reason`; empty when it may be sent. */
export function violationsOf(envelope: unknown): string[] {
  if (!isObject(envelope)) return ['envelope: not_an_object']
  const found: string[] = []
  const look = (path: string, value: unknown, check: Check): void => {
    const violation = value === undefined ? 'missing_required' : check(value)
    if (violation !== undefined) found.push(`${path}: ${violation}`)
  }
  const inside = (path: string, checks: Record<string, Check>): void => {
    const object = envelope[path]
    if (!isObject(object)) {
      found.push(`${path}: ${object === undefined ? 'missing_required' : 'not_an_object'}`)
      return
    }
    for (const [name, check] of Object.entries(checks)) look(`${path}.${name}`, object[name], check)
  }
  look('job', envelope.job, text)
  look('trace_id', envelope.trace_id, text)
  if (isPlain(envelope.data)) checkJson('data', envelope.data, 1, found)
  else found.push(`data: ${envelope.data === undefined ? 'missing_required' : 'not_an_object'}`)
  inside('meta', META)
  look('attempts', envelope.attempts, count)
  if (envelope.dead_letter !== undefined) inside('dead_letter', DEAD_LETTER)
  return found
}

const DEEPEST = 500

/** JSON.stringify would write NaN as null, a Map as {}, and drop a function: refused here, with its path. */
function checkJson(path: string, value: unknown, depth: number, found: string[]): void {
  if (found.length > 20) return
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) found.push(`${path}: wrong_type`)
      return
    case 'number':
      if (!Number.isFinite(value)) found.push(`${path}: wrong_type`)
      return
    case 'boolean':
    case 'bigint':
      return
    case 'object':
      break
    default:
      found.push(`${path}: wrong_type`)
      return
  }
  // A Date and the like say by themselves what they are in JSON.
  if (value === null || typeof (value as { toJSON?: unknown }).toJSON === 'function') {
    if (value instanceof Date && Number.isNaN(value.getTime())) found.push(`${path}: wrong_type`)
    if (ArrayBuffer.isView(value)) found.push(`${path}: wrong_type`)
    return
  }
  if (depth > DEEPEST || !(Array.isArray(value) || isPlain(value))) {
    found.push(`${path}: wrong_type`)
    return
  }
  if (Array.isArray(value)) {
    for (let at = 0; at < value.length; at++) checkJson(`${path}[${at}]`, value[at], depth + 1, found)
    return
  }
  for (const [name, each] of Object.entries(value)) {
    // Left out by every JSON writer.
    if (each !== undefined) checkJson(`${path}.${name}`, each, depth + 1, found)
  }
}

function isPlain(value: unknown): value is Json {
  if (!isObject(value)) return false
  const proto = Object.getPrototypeOf(value) as object | null
  return proto === null || Object.getPrototypeOf(proto) === null
}

/** What goes beside the body where the broker has a place for it. */
export function propertiesOf({ job, trace_id, meta, attempts }: Envelope): Properties {
  return {
    type: job,
    correlationId: trace_id,
    messageId: meta.id,
    appId: 'babelqueue',
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers: { 'x-schema-version': meta.schema_version, 'x-source-lang': meta.lang, 'x-attempts': attempts },
  }
}

/** The same bytes with an annotation; undefined where the body is no JSON object, and has no place for one. */
export function annotated(body: Uint8Array, why: DeadLetter): Buffer | undefined {
  const parsed = parseBody(body)
  if ('error' in parsed || !isObject(parsed.value)) return undefined
  return withMember(body, 'dead_letter', why)
}

/** The same bytes with another number of failed attempts: what a release changes, and nothing else. */
export const withAttempts = (body: Uint8Array, attempts: number): Buffer =>
  withMember(body, 'attempts', attempts)

/** As it was before it was set aside, with all its attempts before it. What is no JSON object is what it was. */
export function restored(body: Uint8Array): Uint8Array {
  const parsed = parseBody(body)
  if ('error' in parsed || !isObject(parsed.value)) return body
  const { dead_letter, attempts } = parsed.value
  const bare = dead_letter === undefined ? body : withoutMember(body, 'dead_letter')
  return typeof attempts === 'number' && attempts > 0 ? withAttempts(bare, 0) : bare
}

/** Restored, and marked: who remembers its failure knows by it to run it again. What is no envelope is restored alone. */
export function redriven(body: Uint8Array, at: number): Uint8Array {
  const bare = restored(body)
  return decodeEnvelope(bare).envelope === undefined ? bare : withMember(bare, 'redriven_at', at)
}
