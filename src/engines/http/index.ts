// The engine of applications that only dispatch: the store lies behind another one's HTTP interface.

import { DeferqError, errorFromJson, maskUrl } from '../../base/errors.ts'
import type {
  CancelAnswer,
  Claims,
  Counts,
  Draft,
  Engine,
  Entry,
  Filter,
  Hint,
  LeaseAnswer,
  Listening,
  Page,
  PromoteAnswer,
  Selector,
  Settled,
  Swept,
  Verdict,
} from '../../contract/engine.ts'
import { checkBatch } from '../../contract/engine.ts'
import { keysOf } from '../../signing/signature.ts'
import { Calls } from './calls.ts'
import { Wakes } from './wakes.ts'

export interface HttpEngineOptions {
  /** Where the interface is mounted: 'https://host/deferq'. */
  url: string
  /** None: the interface answers this machine alone, without signatures. */
  secret?: string
  /** How long a call may take, with all its tries (10 s). */
  timeoutMs?: number
}

type Refused = { error: { code: string; message: string; details?: Record<string, unknown> } }

// Params of many drafts together stay below what interfaces and proxies take.
const MOST_CHARACTERS = 1_000_000

export class HttpEngine implements Engine {
  readonly name = 'http'
  readonly shards = 1
  readonly caveats: readonly string[] = [
    'Over HTTP tasks are dispatched, looked at and cancelled; workers open the store itself.',
  ]
  readonly #calls: Calls
  readonly #wakes: Wakes
  readonly #listeners = new Set<(hint: Hint) => void>()
  #closed = false

  constructor({ url, secret, timeoutMs = 10_000 }: HttpEngineOptions) {
    if (!URL.canParse(url) || !/^https?:/i.test(url))
      throw new DeferqError(
        'INVALID_URL',
        `The url '${maskUrl(String(url))}' is none of an HTTP interface: https://host/deferq.`,
      )
    const keys = secret === undefined ? undefined : keysOf(secret, 'secret')
    this.#calls = new Calls({ url, keys, timeoutMs })
    this.#wakes = new Wakes(this.#calls, (hint) => {
      for (const hear of this.#listeners) hear(hint)
    })
  }

  /** Looks whether the interface is there and takes the secret. */
  async open(): Promise<void> {
    await this.read([])
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#wakes.close()
    this.#listeners.clear()
  }

  async admit(drafts: readonly Draft[]): Promise<Verdict[]> {
    this.#check(drafts, 'admit')
    const verdicts: Verdict[] = []
    // One after the other: a draft sees those before it.
    for (const part of parted(drafts)) verdicts.push(...(await this.#admit(part)))
    this.#wakes.add(
      verdicts.flatMap(({ entry, error }, index) =>
        drafts[index]?.watch && error === undefined ? entry.id : [],
      ),
    )
    return verdicts
  }

  async #admit(drafts: readonly Draft[]): Promise<Verdict[]> {
    const { verdicts } = await this.#calls.send<{ verdicts: (Verdict | Refused)[] }>('admit', {
      drafts: drafts.map(travelling),
    })
    return verdicts.map((verdict) => {
      if (!('error' in verdict)) return verdict
      const error = errorFromJson({ name: 'DeferqError', ...(verdict as Refused).error }) as DeferqError
      return { outcome: 'rejected', sameParams: true, error } as Verdict
    })
  }

  async read(ids: readonly string[], watch = false): Promise<(Entry | undefined)[]> {
    this.#check(ids, 'read')
    const { runs } = await this.#calls.send<{ runs: (Entry | null)[] }>('read', { ids })
    const read = runs.map((run) => run ?? undefined)
    if (watch)
      this.#wakes.add(
        read.flatMap((run) => (run?.status === 'pending' || run?.status === 'running' ? run.id : [])),
      )
    return read
  }

  async cancel(ids: readonly string[], reason?: string): Promise<CancelAnswer[]> {
    this.#check(ids, 'cancel')
    return (await this.#calls.send<{ answers: CancelAnswer[] }>('cancel', { ids, reason })).answers
  }

  async promote(ids: readonly string[], priority?: number): Promise<PromoteAnswer[]> {
    this.#check(ids, 'promote')
    return (await this.#calls.send<{ answers: PromoteAnswer[] }>('promote', { ids, priority })).answers
  }

  async invalidate(selector: Selector): Promise<number> {
    this.#check('keys' in selector ? selector.keys : [], 'invalidate')
    const asked = 'keys' in selector && selector.asked !== undefined ? { asked: selector.asked } : selector
    return (await this.#calls.send<{ count: number }>('invalidate', asked)).count
  }

  async list(filter: Filter, cursor?: string): Promise<Page> {
    this.#check()
    return this.#calls.send<Page>('list', { filter, cursor })
  }

  async count(): Promise<Counts> {
    this.#check()
    return this.#calls.send<Counts>('count', {})
  }

  /** Invalidations are not told over HTTP. */
  listen(hear: (hint: Hint) => void): Listening {
    this.#listeners.add(hear)
    return { stop: () => this.#listeners.delete(hear), hears: () => false }
  }

  claim(): Promise<Claims> {
    return Promise.reject(elsewhere('claim'))
  }
  settle(): Promise<Settled> {
    return Promise.reject(elsewhere('settle'))
  }
  extend(): Promise<LeaseAnswer[]> {
    return Promise.reject(elsewhere('extend'))
  }
  sweep(): Promise<Swept> {
    return Promise.reject(elsewhere('sweep'))
  }
  pause(): Promise<void> {
    return Promise.reject(elsewhere('pause'))
  }

  #check(items: readonly unknown[] = [], method = ''): void {
    if (this.#closed) throw new DeferqError('CLOSED', 'This HTTP engine is closed: open a new one.')
    checkBatch(items, method)
  }
}

/** Without what concerns this side alone. */
function travelling({ watch: _watch, firstSend: _firstSend, asked, ...draft }: Draft): object {
  if (asked === undefined) return draft
  return { id: draft.id, name: draft.name, params: draft.params, asked }
}

function parted(drafts: readonly Draft[]): Draft[][] {
  const parts: Draft[][] = []
  let size = Number.POSITIVE_INFINITY
  for (const draft of drafts) {
    size += draft.params.length
    if (size > MOST_CHARACTERS) {
      parts.push([])
      size = draft.params.length
    }
    ;(parts.at(-1) as Draft[]).push(draft)
  }
  return parts
}

const elsewhere = (verb: string): DeferqError =>
  new DeferqError(
    'INVALID_OPTION',
    `${verb}() is not to be had over HTTP: this url dispatches, and workers open the store itself (redis://, postgres://, sqlite:).`,
  )
