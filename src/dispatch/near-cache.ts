// The near cache: fresh results kept in this process, for as long as hints would tell that they are forgotten.

import { environment } from '../base/environment.ts'
import type { Hint, Listening, Selector, Standing, Verdict } from '../contract/engine.ts'
import { checkKnown, checkWhole } from '../tasks/check-options.ts'
import type { NearCacheOptions } from '../tasks/options.ts'
import { decode, isPlain } from '../values/decode.ts'
import { encode } from '../values/encode.ts'
import { keyOf } from '../values/fingerprint.ts'

interface CachedResult {
  run: Standing
  /** As it was asked for: where a server knows the task by another name, that is the run's. */
  name: string
  key: string
  nearKey: string
  /** By this process's own clock, which never jumps. */
  until: number
  /** The result, to be copied; undefined until somebody asks for it, or where only its text will do. */
  value: unknown
}

const ENTRIES = 10_000
/** More fields than these are spelt canonically. */
const FEW_FIELDS = 16
/** Of a longer text the value is not kept beside it. */
const SHORT = 4_096

export function nearCacheOf(option: boolean | NearCacheOptions | undefined): NearCache | undefined {
  if (option === undefined || option === false) return undefined
  const { entries = ENTRIES } = option === true ? {} : option
  if (option !== true) checkKnown(option, ['entries'], 'new DeferQ(): nearCache')
  checkWhole(entries, 1, 10_000_000, 'new DeferQ(): nearCache.entries')
  return new NearCache(entries)
}

export class NearCache {
  readonly #entries: number
  /** By name and nearKey: a text that is made and looked up as it is takes half the time of one that is put together. */
  readonly #names = new Map<string, Map<string, CachedResult>>()
  /** By key, to which several spellings of the params may lead. */
  readonly #keys = new Map<string, Set<CachedResult>>()
  /** The oldest first. */
  readonly #all = new Set<CachedResult>()
  #listening: Listening | undefined
  /** Counts what may have made an answer outdated that is still on its way. */
  epoch = 0

  constructor(entries: number) {
    this.#entries = entries
  }

  opened(listening: Listening): void {
    this.#listening = listening
    this.#clear()
  }

  /** The text under which an answer to a plain dispatch is cached, for its name. Spellings may differ; two different params never share one. */
  nearKey(params: unknown): string {
    return isFlat(params) ? JSON.stringify(params) : encode(params)
  }

  find(name: string, nearKey: string): Standing | undefined {
    return this.#cached(name, nearKey)?.run
  }

  /** The result alone, the caller's own. Undefined where there is none: what is undefined itself is not cached so. */
  result(name: string, nearKey: string): unknown {
    const cached = this.#cached(name, nearKey)
    if (cached === undefined) return undefined
    if (cached.value !== undefined) return copyOf(cached.value)
    const text = cached.run.result as string
    const value = decode(text)
    if (text.length <= SHORT && isPlain(text)) cached.value = copyOf(value)
    return value
  }

  /** `sentAt` and `epoch` are those of the moment at which the dispatch was sent. */
  keep(name: string, nearKey: string, verdict: Verdict, sentAt: number, epoch: number): void {
    const { outcome, entry, freshMs, sameParams } = verdict
    if (outcome !== 'hit' || freshMs === undefined || epoch !== this.epoch || !sameParams) return
    const key = keyOf(entry.id)
    const cached: CachedResult = { run: entry, name, key, nearKey, until: sentAt + freshMs, value: undefined }
    const before = this.#names.get(name)?.get(nearKey)
    if (before !== undefined) this.#drop(before)
    placeIn(this.#names, name, () => new Map<string, CachedResult>()).set(nearKey, cached)
    placeIn(this.#keys, key, () => new Set<CachedResult>()).add(cached)
    this.#all.add(cached)
    if (this.#all.size <= this.#entries) return
    const [oldest] = this.#all
    if (oldest !== undefined) this.#drop(oldest)
  }

  hear(hint: Hint): void {
    if (hint.kind === 'invalidated') this.forget(hint.selector)
    else if (hint.kind === 'changed') this.#clear()
  }

  forget(selector: Selector): void {
    this.epoch++
    const forgotten =
      'keys' in selector
        ? selector.keys.flatMap((key) => [...(this.#keys.get(key) ?? [])])
        : [...this.#all].filter(({ name, run }) => name === selector.name || run.name === selector.name)
    for (const cached of forgotten) this.#drop(cached)
  }

  #cached(name: string, nearKey: string): CachedResult | undefined {
    const cached = this.#names.get(name)?.get(nearKey)
    if (cached === undefined || (this.#listening?.hears() === true && environment.monotonic() < cached.until))
      return cached
    this.#drop(cached)
    return undefined
  }

  #drop(cached: CachedResult): void {
    const { name, key, nearKey } = cached
    this.#all.delete(cached)
    const named = this.#names.get(name)
    named?.delete(nearKey)
    if (named?.size === 0) this.#names.delete(name)
    const keyed = this.#keys.get(key)
    keyed?.delete(cached)
    if (keyed?.size === 0) this.#keys.delete(key)
  }

  #clear(): void {
    this.epoch++
    this.#names.clear()
    this.#keys.clear()
    this.#all.clear()
  }
}

function placeIn<Key, Place>(places: Map<Key, Place>, key: Key, make: () => Place): Place {
  let place = places.get(key)
  if (place === undefined) places.set(key, (place = make()))
  return place
}

/** Of what JSON can say: several times as fast as from its text. */
function copyOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(copyOf)
  const copy: Record<string, unknown> = { ...value }
  for (const name in copy) {
    const part = copy[name]
    if (typeof part === 'object' && part !== null) copy[name] = copyOf(part)
  }
  return copy
}

/** Params that JSON.stringify tells apart as well as the canonical text does: it merges dates, NaN and the like with others. */
function isFlat(params: unknown): boolean {
  if (typeof params !== 'object' || params === null || Object.getPrototypeOf(params) !== Object.prototype)
    return false
  let fields = 0
  for (const field in params) {
    if (++fields > FEW_FIELDS || field === 'toJSON') return false
    const value = (params as Record<string, unknown>)[field]
    switch (typeof value) {
      case 'string':
      case 'boolean':
        break
      case 'number':
        if (!Number.isFinite(value)) return false
        break
      default:
        return false
    }
  }
  return Object.getOwnPropertySymbols(params).length === 0
}
