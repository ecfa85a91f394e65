// A Keyv store, read and written so that a store which is away is never taken for an empty one.
import type { Timer } from '../base/environment.ts'
import { environment } from '../base/environment.ts'
import { DeferqError, maskUrl } from '../base/errors.ts'
import { release, retain } from './shared-handles.ts'

/** What deferq uses of a `Keyv`; the class of the package of that name fits. */
export interface KeyvLike {
  getMany(keys: string[]): Promise<unknown[]>
  set(key: string, value: string, ttlMs?: number): Promise<boolean>
  setMany(entries: { key: string; value: string; ttl?: number }[]): Promise<unknown>
  delete(key: string[]): Promise<boolean>
  disconnect(): Promise<void>
  on(event: string, hear: (error: unknown) => void): unknown
  off(event: string, hear: (error: unknown) => void): unknown
  // biome-ignore lint/suspicious/noExplicitAny: an adapter, or a Map; Keyv itself knows no more of it
  readonly store: any
  readonly namespace?: string | undefined
  throwOnErrors: boolean
  /** The key as the adapter knows it. */
  _getKeyPrefix(key: string): string
  deserializeData(data: string): Promise<{ value?: unknown; expires?: number | undefined } | undefined>
}

/** What stands under the key can't be read. */
export const DAMAGED = Symbol('damaged')
export type Read = string | undefined | typeof DAMAGED

export interface Write {
  key: string
  value: string
  /** Kept for ever without it. */
  ttlMs?: number
}

// Keyv bounds nothing by itself, and some clients wait for their server for ever.
const CALL_MS = 5_000

/** The cause of a refusal: what was asked for may still come to pass. */
export class Late extends Error {}

export class Keyed {
  readonly #keyv: KeyvLike
  readonly #what: string
  readonly #callMs: number
  #faults = 0
  #lastFault: unknown

  constructor(keyv: KeyvLike, what: string, callMs = CALL_MS) {
    if (typeof keyv?.getMany !== 'function' || typeof keyv.setMany !== 'function') {
      throw new DeferqError(
        'INVALID_OPTION',
        `${what} must be a Keyv (version 5): new Keyv({ store: new KeyvRedis(url) }).`,
      )
    }
    this.#keyv = keyv
    this.#what = what
    this.#callMs = callMs
    retain(keyv)
    // Otherwise a failed read answers as if nothing stood there, and what runs would be run twice.
    keyv.throwOnErrors = true
    if ('throwOnErrors' in keyv.store) keyv.store.throwOnErrors = true
    // A write that waited for its server in the client would come when its lock is another's.
    const client = keyv.store.client?.options
    if (typeof client === 'object' && client !== null) client.disableOfflineQueue = true
    keyv.on('error', this.#fault)
    keyv.store.on?.('error', this.#fault)
  }

  /** How long one call may take; what a lock has left must be more than that when something is written. */
  get callMs(): number {
    return this.#callMs
  }

  /** Whether several entries are written in one step. */
  get atomic(): boolean {
    return this.#keyv.store instanceof Map || typeof this.#keyv.store.setMany === 'function'
  }

  get scannable(): boolean {
    const { store } = this.#keyv
    return store instanceof Map || typeof store.iterator === 'function'
  }

  /** Whether the store clears away by itself what has outlived its time. */
  get forgets(): boolean {
    const { store } = this.#keyv
    return !(store instanceof Map) && store.ttlSupport !== false
  }

  async read(keys: readonly string[]): Promise<Read[]> {
    if (keys.length === 0) return []
    const faults = this.#faults
    const values = await this.#call('read', () => this.#load([...keys]))
    // Adapters that swallow an error tell it as an event, and answer undefined.
    if (this.#faults !== faults && values.includes(undefined))
      throw this.#unavailable('read', this.#lastFault)
    return values
  }

  async write(writes: readonly Write[]): Promise<void> {
    if (writes.length === 0) return
    const entries = writes.map(({ key, value, ttlMs = 0 }) => ({ key, value, ttl: ttlMs }))
    const faults = this.#faults
    const stored = await this.#call('write', () => this.#store(entries))
    if (this.#faults !== faults || stored.includes(false)) throw this.#unavailable('write', this.#lastFault)
  }

  async remove(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return
    const faults = this.#faults
    await this.#call('delete', () => this.#keyv.delete([...keys]))
    if (this.#faults !== faults) throw this.#unavailable('delete', this.#lastFault)
  }

  /** Every key (as the store has it, with Keyv's own prefixes) and its value, in no order; what is changed meanwhile may come as it was or as it is. */
  async *scan(): AsyncGenerator<[key: string, value: string, expires: number | undefined]> {
    const { store, namespace } = this.#keyv
    const faults = this.#faults
    // Keyv's own iterator ends at the first value that it can't read, or that is deleted under its hands.
    const rows: AsyncIterator<[string, unknown]> | Iterator<[string, unknown]> =
      store instanceof Map ? [...store][Symbol.iterator]() : store.iterator(namespace)
    for (;;) {
      const { done, value } = await this.#call('go through', async () => rows.next())
      if (this.#faults !== faults) throw this.#unavailable('go through', this.#lastFault)
      if (done) return
      const [key, raw] = value
      if (typeof raw !== 'string') continue
      const row = await this.#keyv.deserializeData(raw).catch(() => undefined)
      if (typeof row?.value !== 'string') continue
      yield [String(key), row.value, row.expires]
    }
  }

  async close(): Promise<void> {
    this.#keyv.off('error', this.#fault)
    this.#keyv.store.off?.('error', this.#fault)
    if (!release(this.#keyv)) return
    // Something has to hear of what goes wrong from here on, or Node ends the process.
    this.#keyv.store.on?.('error', () => {})
    await this.#call('close', () => this.#keyv.disconnect()).catch(() => {})
  }

  /**
   * Past Keyv's own reading, which deletes what it finds expired: under no lock, that could be what another has just
   * written. It also takes a failed read for an absent value where the adapter has no getMany.
   */
  async #load(keys: string[]): Promise<Read[]> {
    const { store } = this.#keyv
    const named = keys.map((key) => this.#keyv._getKeyPrefix(key))
    const rows: unknown[] =
      typeof store.getMany === 'function'
        ? await store.getMany(named)
        : await Promise.all(named.map(async (name) => store.get(name)))
    return Promise.all(
      rows.map(async (raw) => {
        if (raw === undefined || raw === null) return undefined
        try {
          const row =
            typeof raw === 'string' ? await this.#keyv.deserializeData(raw) : (raw as { value?: unknown })
          return typeof row?.value === 'string' ? row.value : DAMAGED
        } catch {
          // One that can't be read must not hide the others.
          return DAMAGED
        }
      }),
    )
  }

  async #store(entries: { key: string; value: string; ttl: number }[]): Promise<unknown[]> {
    const [first] = entries
    if (entries.length === 1 && first !== undefined)
      return [await this.#keyv.set(first.key, first.value, first.ttl)]
    const stored = await this.#keyv.setMany(entries)
    return Array.isArray(stored) ? stored : []
  }

  async #call<T>(verb: string, call: () => Promise<T>): Promise<T> {
    let timer: Timer | undefined
    const late = new Promise<never>((_, reject) => {
      timer = environment.setTimeout(
        () => reject(new Late(`It did not answer within ${this.#callMs} ms.`)),
        this.#callMs,
      )
    })
    try {
      return await Promise.race([call(), late])
    } catch (error) {
      throw this.#unavailable(verb, error)
    } finally {
      environment.clearTimeout(timer)
    }
  }

  readonly #fault = (error: unknown): void => {
    this.#faults++
    this.#lastFault = error
  }

  #unavailable(verb: string, cause: unknown): DeferqError {
    const why = cause instanceof Error ? ` ${maskUrl(cause.message)}` : ''
    return new DeferqError(
      'STORE_UNAVAILABLE',
      `${this.#what}: the Keyv store can’t ${verb}.${why} Is its server running?`,
      { cause },
    )
  }
}
