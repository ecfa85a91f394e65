// The near cache: fresh results kept in this process, for as long as hints would tell that they are forgotten.
import { checkWhole } from './checks.ts'
import type { Engine, Hint, Selector, Standing, Verdict } from './engine.ts'
import { keyOf } from './fingerprint.ts'
import { checkKnown } from './options.ts'
import { encode } from './value.ts'

export interface NearCacheOptions {
  /** Results kept at the most; the oldest make room (10,000). */
  entries?: number
}

interface Held {
  run: Standing
  key: string
  /** By this process's own clock, which never jumps. */
  until: number
}

const ENTRIES = 10_000
/** More fields than these are spelt canonically. */
const FEW_FIELDS = 16

export function nearCacheOf(option: boolean | NearCacheOptions | undefined): Near | undefined {
  if (option === undefined || option === false) return undefined
  const { entries = ENTRIES } = option === true ? {} : option
  if (option !== true) checkKnown(option, ['entries'], 'new DeferQ(): nearCache')
  checkWhole(entries, 1, 10_000_000, 'new DeferQ(): nearCache.entries')
  return new Near(entries)
}

export class Near {
  readonly #entries: number
  readonly #held = new Map<string, Held>()
  /** Several spellings of the params may lead to one key. */
  readonly #spots = new Map<string, Set<string>>()
  #engine: Engine | undefined
  /** Counts what may have made an answer outdated that is still on its way. */
  epoch = 0

  constructor(entries: number) {
    this.#entries = entries
  }

  opened(engine: Engine): void {
    this.#engine = engine
    this.#clear()
  }

  /** The text under which an answer to a plain dispatch is held. Spellings may differ; two different params never share one. */
  spot(name: string, params: unknown): string {
    return isFlat(params) ? `${name}\0${JSON.stringify(params)}` : `${name}\0\0${encode(params)}`
  }

  find(spot: string): Standing | undefined {
    const held = this.#held.get(spot)
    if (held === undefined) return undefined
    if (this.#engine?.hears?.() === true && performance.now() < held.until) return held.run
    this.#drop(spot, held)
    return undefined
  }

  /** `sentAt` and `epoch` are those of the moment at which the dispatch was sent. */
  keep(spot: string, { outcome, entry, freshMs, sameParams }: Verdict, sentAt: number, epoch: number): void {
    if (outcome !== 'hit' || freshMs === undefined || epoch !== this.epoch || !sameParams) return
    const key = keyOf(entry.id)
    this.#held.set(spot, { run: entry, key, until: sentAt + freshMs })
    const spots = this.#spots.get(key)
    if (spots === undefined) this.#spots.set(key, new Set([spot]))
    else spots.add(spot)
    if (this.#held.size <= this.#entries) return
    const [oldest] = this.#held as Iterable<[string, Held]>
    if (oldest !== undefined) this.#drop(...oldest)
  }

  hear(hint: Hint): void {
    if (hint.kind === 'invalidated') this.forget(hint.selector)
    else if (hint.kind === 'changed') this.#clear()
  }

  forget(selector: Selector): void {
    this.epoch++
    if ('keys' in selector) {
      for (const key of selector.keys)
        for (const spot of this.#spots.get(key) ?? []) this.#drop(spot, this.#held.get(spot) as Held)
      return
    }
    for (const [spot, held] of this.#held) if (held.run.name === selector.name) this.#drop(spot, held)
  }

  #drop(spot: string, { key }: Held): void {
    this.#held.delete(spot)
    const spots = this.#spots.get(key)
    spots?.delete(spot)
    if (spots?.size === 0) this.#spots.delete(key)
  }

  #clear(): void {
    this.epoch++
    this.#held.clear()
    this.#spots.clear()
  }
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
