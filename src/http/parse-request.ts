// Reads a request: its body as JSON, its params, the options that may come from outside, and preferences.

import { DeferqError, isDeferqError } from '../base/errors.ts'
import { MAX_BATCH } from '../contract/engine.ts'
import type { Callback, DispatchOptions } from '../tasks/options.ts'
import { isWebhook } from '../tasks/options.ts'
import { decodeTree } from '../values/decode.ts'
import { isId } from '../values/fingerprint.ts'
import type { Call } from './call.ts'
import { Refusal } from './call.ts'
import type { Gate } from './exposed-engine.ts'

const decoder = new TextDecoder('utf-8', { fatal: true })

/** The members of a JSON body; one that is not among the known ones is refused, for it would be silently without effect. */
export function membersOf(call: Call, body: Uint8Array, known: readonly string[]): Record<string, unknown> {
  const encoding = call.header('content-encoding')
  if (encoding !== undefined && encoding !== 'identity')
    throw new Refusal(415, `The body is encoded as ${encoding.slice(0, 40)}: send it as it is.`, {
      'accept-encoding': 'identity',
    })
  const type = call.header('content-type') ?? ''
  if (!/^application\/json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?$/i.test(type))
    throw new Refusal(415, 'The body must be JSON: content-type: application/json.')
  let members: unknown
  try {
    members = JSON.parse(decoder.decode(body))
  } catch {
    throw new Refusal(400, 'The body is no JSON in UTF-8.')
  }
  return recordOf(members, known, 'The body')
}

export function recordOf(value: unknown, known: readonly string[], what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Refusal(400, `${what} must be a JSON object.`)
  for (const member of Object.keys(value)) {
    if (!known.includes(member))
      throw new Refusal(
        422,
        `${what} has no member '${member.slice(0, 40)}' of this kind. Known: ${known.join(', ')}.`,
      )
  }
  return value as Record<string, unknown>
}

/**
 * Params as they are in JSON, with the values for which tags stand: `{"$deferq":["Date","…"]}`. Without params they are an empty
 * object. A wrong tag stays where it is, and the dispatch refuses it with its path.
 */
export function paramsOf(members: Record<string, unknown>): unknown {
  const { params } = members
  if (params === undefined) return {}
  try {
    return decodeTree(params)
  } catch (error) {
    if (isDeferqError(error, 'MALFORMED_VALUE')) return params
    throw error
  }
}

export function listOf(value: unknown, what: string): unknown[] {
  if (Array.isArray(value) && value.length <= MAX_BATCH) return value
  throw new Refusal(422, `${what} must be a list of at most ${MAX_BATCH}.`)
}

export function idIn(id: unknown): string {
  if (isId(id)) return id
  throw new DeferqError(
    'INVALID_ID',
    'An id is 88 hexadecimal characters, as the answer to a dispatch has them.',
  )
}

export function flagOf(value: unknown, what: string): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? false
  throw new Refusal(422, `${what} must be true or false.`)
}

/** Not `tx` and `signal`, which are no JSON. Their values are checked by the dispatch itself. */
export const OPTIONS: readonly string[] = [
  'resultTtl',
  'staleTtl',
  'failureTtl',
  'retention',
  'priority',
  'queue',
  'retries',
  'backoff',
  'timeout',
  'delay',
  'runAt',
  'refresh',
  'idempotencyKey',
  'scope',
  'traceId',
  'onMismatch',
  'onDuplicate',
  'onAbandoned',
  'debounce',
  'throttle',
  'callback',
]

/** `name`: what the caller calls the task. */
export function optionsOf(value: unknown, gate: Gate, name?: string, known = OPTIONS): DispatchOptions {
  if (value === undefined) return {}
  const options = recordOf(value, known, 'options') as DispatchOptions
  if (options.callback === undefined) return options
  return { ...options, callback: callbacksOf(options.callback, gate, name) }
}

/** No headers, tokens or keys: those belong to whoever sends. */
const WEBHOOK = [
  'url',
  'on',
  'successCodes',
  'stopCodes',
  'attemptLimit',
  'attemptInterval',
  'timeout',
  'expiresAt',
]

/** Tasks by name, which must be allowed as those that are dispatched must; and URLs, where the server posts to these. */
export function callbacksOf(
  value: unknown,
  gate: Gate,
  name?: string,
): NonNullable<DispatchOptions['callback']> {
  const callbacks = Array.isArray(value) ? value : [value]
  return callbacks.map((each: unknown) => {
    if (isWebhook(each as Callback)) {
      const { url, ...rest } =
        typeof each === 'string' ? { url: each } : recordOf(each, WEBHOOK, 'A callback')
      gate.checkWebhook(String(url))
      return { ...rest, url: String(url), toldAs: name }
    }
    const callback =
      typeof each === 'string' ? { name: each } : recordOf(each, ['name', 'params', 'on'], 'A callback')
    const named = { ...callback, name: gate.named(callback.name) }
    return 'params' in callback ? { ...named, params: paramsOf(callback) } : named
  }) as NonNullable<DispatchOptions['callback']>
}

/** RFC 7240: how long the caller would like to wait, as far as it may. */
export function waitOf(call: Call, maxWaitMs: number): number | undefined {
  const [, seconds] =
    /(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:$|[,;])/i.exec(call.header('prefer') ?? '') ?? []
  return seconds === undefined ? undefined : Math.min(Number(seconds) * 1_000, maxWaitMs)
}

/** As it stands, or as the quoted text of a structured field. */
export function idempotencyKeyOf(call: Call): string | undefined {
  const value = call.header('idempotency-key')?.trim()
  if (value === undefined) return undefined
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(value)
  return quoted === null ? value : (quoted[1] as string).replace(/\\(["\\])/g, '$1')
}
