// The envelope that messages travel in between languages: its shape, what each side checks, its bytes, its annotations.
import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import type { Properties } from '../contract/transport.ts'
import { kindOf, violationsOf } from './check-envelope.ts'
import type { DeadLetterReason, Language } from './envelope-shape.ts'
import { SCHEMA_VERSION } from './envelope-shape.ts'
import type { Json } from './envelope-text.ts'
import { isObject, parseBody, stringifyExact, withMember, withoutMember } from './envelope-text.ts'

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
  { queue = 'default', traceId, id = environment.randomUUID(), lang = 'node' }: EnvelopeOptions = {},
): Envelope {
  return {
    job: urn,
    trace_id: isBlank(traceId) ? environment.randomUUID() : traceId,
    data,
    meta: { id, queue, lang, schema_version: SCHEMA_VERSION, created_at: environment.now() },
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
