// Names a piece of work: from a task's name and params to the key they stand under, and the ids of its runs.

import { nodeCrypto } from '../base/crypto.ts'
import { environment } from '../base/environment.ts'
import { DeferqError } from '../base/errors.ts'
import { TAG, Walk } from './encode.ts'
import type { HotKeys } from './key-cache.ts'
import type { Limits } from './limits.ts'

const IDEMPOTENCY_KEY_CHARS = 512

export interface FingerprintInput<Params = unknown> {
  readonly name: string
  readonly params: Params
  /** What stands in for the params in the key. */
  readonly key?: ((params: Params) => unknown) | undefined
  /** Properties left out of the key: `'traceId'`, or `'meta.traceId'` for one inside another. */
  readonly ignore?: readonly string[] | undefined
  /** Widens the key, for example by a tenant. */
  readonly scope?: string | number | undefined
  /** Sets the results of one version of the code apart from those of another. */
  readonly version?: string | number | undefined
  /** Stands in for params and version: the caller says what is the same. */
  readonly idempotencyKey?: string | undefined
  readonly limits?: Partial<Limits> | undefined
}

export interface Fingerprint {
  /** SHA-256 in 64 hexadecimal characters. */
  readonly key: string
  /** The canonical text of all params, which is what gets stored. */
  readonly text: string
  /** Whether callers with different params may share this key. */
  readonly narrowed: boolean
}

/**
 * The key is the hash of the canonical JSON of `{"name":…,"params":…}`, so that any language can compute it;
 * `"scope"` and `"version"` join the object when given. With `idempotencyKey` it is that of
 * `{"idempotencyKey":…,"name":…}` and the scope. Joined as text, so that params are encoded only once.
 */
export function fingerprint<Params>(input: FingerprintInput<Params>): Fingerprint {
  const { key, text, narrowed } = fingerprintOf(input)
  return { key, text, narrowed }
}

export interface Read extends Fingerprint {
  /** What the text says, as a value of its own; undefined where more than JSON is in it. */
  readonly value: unknown
}

/** `hot`: keys of this name, where nothing else but its params makes them. */
export function fingerprintOf<Params>(input: FingerprintInput<Params>, hot?: HotKeys): Read {
  const { params, key, ignore, scope, version, idempotencyKey, limits } = input
  const walk = new Walk('params', 'params', limits)
  const tree = walk.read(params)
  const text = walk.text(tree)
  const value = walk.isPlain ? tree : undefined
  const known = hot?.get(text)
  if (known !== undefined) return { key: known, text, narrowed: false, value }
  const narrowed = idempotencyKey !== undefined || key !== undefined || (ignore?.length ?? 0) > 0

  let hashed = nameText(input.name)
  if (idempotencyKey !== undefined) {
    checkIdempotencyKey(idempotencyKey)
    hashed = `"idempotencyKey":${textOf(idempotencyKey, 'idempotencyKey')},${hashed}`
  } else if (key !== undefined) {
    hashed += `,"params":${standIn(input.name, key, params, limits)}`
  } else if (narrowed) {
    for (const path of ignore ?? []) leaveOut(tree, path)
    hashed += `,"params":${walk.text(tree)}`
  } else {
    hashed += `,"params":${text}`
  }
  if (scope !== undefined) hashed += `,"scope":${textOf(scope, 'scope')}`
  if (version !== undefined && idempotencyKey === undefined)
    hashed += `,"version":${textOf(version, 'version')}`
  // What is ignored has been left out of it.
  return { key: sha256(`{${hashed}}`), text, narrowed, value: narrowed ? undefined : value }
}

/** A key in its parent's shard, which the first eight characters choose. */
export function followUpKey(parentKey: string, seed: string): string {
  return parentKey.slice(0, 8) + sha256(seed).slice(8)
}

/** The random part of an id, 24 hexadecimal characters. */
export const newRun = (): string => environment.randomRun()

export function idOf(key: string, run: string): string {
  return key + run
}

export function keyOf(id: string): string {
  return id.slice(0, 64)
}

export function isKey(text: unknown): text is string {
  return typeof text === 'string' && /^[0-9a-f]{64}$/.test(text)
}

export function isId(text: unknown): text is string {
  return typeof text === 'string' && /^[0-9a-f]{88}$/.test(text)
}

/** The one-shot `hash` takes a third of the time of `createHash`. */
export function sha256(text: string): string {
  return nodeCrypto().hash('sha256', text, 'hex')
}

const MOST_NAMES = 1_000
const nameTexts = new Map<string, string>()

/** Of which there are few: each is spelled once. */
function nameText(name: string): string {
  let text = nameTexts.get(name)
  if (text === undefined) {
    text = `"name":${textOf(name, 'name')}`
    if (nameTexts.size >= MOST_NAMES) nameTexts.clear()
    nameTexts.set(name, text)
  }
  return text
}

function textOf(value: string | number, root: string): string {
  if (typeof value === 'string' && value.isWellFormed()) return JSON.stringify(value)
  return new Walk('params', root).encode(value)
}

function standIn<Params>(
  name: string,
  key: (params: Params) => unknown,
  params: Params,
  limits: Partial<Limits> | undefined,
): string {
  let value: unknown
  try {
    value = key(params)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new DeferqError('UNHASHABLE_PARAMS', `The key function of task '${name}' threw: ${why}`, {
      cause,
      details: { path: 'key(params)' },
    })
  }
  // A misspelt property would otherwise give everyone the same key, and one caller another's result.
  if (value === undefined) {
    throw new DeferqError(
      'UNHASHABLE_PARAMS',
      `The key function of task '${name}' returned undefined. Return null if all params shall share one key.`,
      { details: { path: 'key(params)' } },
    )
  }
  return new Walk('params', 'key(params)', limits).encode(value)
}

function checkIdempotencyKey(key: string): void {
  if (typeof key === 'string' && key.length > 0 && key.length <= IDEMPOTENCY_KEY_CHARS) return
  const found = typeof key === 'string' ? `one of ${key.length}` : `a ${typeof key}`
  throw new DeferqError(
    'INVALID_OPTION',
    `idempotencyKey must be a string of 1 to ${IDEMPOTENCY_KEY_CHARS} characters, not ${found}. Hash it first if it is longer.`,
    { details: { path: 'idempotencyKey' } },
  )
}

/** Blanks a property of a checked copy. Only own ones are followed, so that no path reaches a prototype. */
function leaveOut(tree: unknown, path: string): void {
  const names = path.split('.')
  const last = names.pop() as string
  let at = tree
  for (const name of names) at = isObject(at) && Object.hasOwn(at, name) ? at[name] : undefined
  // Undefined counts as absent, and unlike `delete` it leaves the object fast.
  if (isObject(at) && Object.hasOwn(at, last)) at[last] = undefined
}

function isObject(tree: unknown): tree is Record<string, unknown> {
  return typeof tree === 'object' && tree !== null && !Array.isArray(tree) && !Object.hasOwn(tree, TAG)
}
