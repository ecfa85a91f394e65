// A producer's checks of an envelope: each violation as `path: reason`.
import { DEAD_LETTER_REASONS, LANGUAGES, SCHEMA_VERSION } from './envelope-shape.ts'
import type { Json } from './envelope-text.ts'
import { isObject } from './envelope-text.ts'

export const kindOf = (value: unknown): string =>
  value === undefined
    ? 'missing'
    : value === null
      ? 'null'
      : Array.isArray(value)
        ? 'a list'
        : `a ${typeof value}`

export type Check = (value: unknown) => Violation | undefined

export type Violation =
  | 'not_an_object'
  | 'missing_required'
  | 'wrong_type'
  | 'empty_string'
  | 'not_a_uuid'
  | 'not_in_enum'
  | 'wrong_const'
  | 'below_minimum'

export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i

export const text: Check = (value) =>
  typeof value !== 'string' || !value.isWellFormed()
    ? 'wrong_type'
    : value === ''
      ? 'empty_string'
      : undefined

export const textOrNull: Check = (value) =>
  value === null || typeof value === 'string' ? undefined : 'wrong_type'

export const uuid: Check = (value) => text(value) ?? (UUID.test(value as string) ? undefined : 'not_a_uuid')

export const count: Check = (value) =>
  !Number.isSafeInteger(value) ? 'wrong_type' : (value as number) < 0 ? 'below_minimum' : undefined

export const oneOf =
  (choices: readonly string[]): Check =>
  (value) =>
    typeof value !== 'string' ? 'wrong_type' : choices.includes(value) ? undefined : 'not_in_enum'

export const version: Check = (value) =>
  typeof value !== 'number' ? 'wrong_type' : value === SCHEMA_VERSION ? undefined : 'wrong_const'

export const META: Record<string, Check> = {
  id: uuid,
  queue: text,
  lang: oneOf(LANGUAGES),
  schema_version: version,
  created_at: count,
}

export const DEAD_LETTER: Record<string, Check> = {
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

export const DEEPEST = 500

/** JSON.stringify would write NaN as null, a Map as {}, and drop a function: refused here, with its path. */
export function checkJson(path: string, value: unknown, depth: number, found: string[]): void {
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

export function isPlain(value: unknown): value is Json {
  if (!isObject(value)) return false
  const proto = Object.getPrototypeOf(value) as object | null
  return proto === null || Object.getPrototypeOf(proto) === null
}
