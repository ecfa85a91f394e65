// The store as the other side may see it: the names that are allowed, aliases in place of what they stand for, and nothing else.

import { DeferqError } from '../base/errors.ts'
import type {
  CancelAnswer,
  Counts,
  Draft,
  Engine,
  Entry,
  Filter,
  Hint,
  Lanes,
  Listening,
  Page,
  PromoteAnswer,
  Selector,
  Standing,
  Verdict,
} from '../contract/engine.ts'
import { HTTP_REQUEST } from '../tasks/options.ts'
import type { Settings } from './options.ts'

export interface GateNeeds {
  engine: () => Promise<Engine>
  listen: (hear: (hint: Hint) => void) => () => void
  allow: readonly string[]
  aliases: Readonly<Record<string, string>>
  webhooks: Settings['webhooks']
}

/** What batches are kept as; whoever may dispatch may also batch. */
const BATCH = 'deferq.batch'

/**
 * An engine for the facade behind the interface: all that comes from outside goes through it. It is asked with the tasks' own
 * names, so that a task is one and the same piece of work from inside and outside, and answers with those of the outside.
 */
export class Gate implements Engine {
  readonly name = 'gate'
  readonly shards = 1
  readonly caveats: readonly string[] = []
  readonly #needs: GateNeeds
  /** What the outside says → the task's name, and back. */
  readonly #inward = new Map<string, string>([[BATCH, BATCH]])
  readonly #outward = new Map<string, string>([[BATCH, BATCH]])

  constructor(needs: GateNeeds) {
    this.#needs = needs
    for (const [alias, name] of Object.entries(needs.aliases)) {
      this.#inward.set(alias, name)
      if (!this.#outward.has(name)) this.#outward.set(name, alias)
    }
    for (const name of needs.allow) {
      this.#inward.set(name, name)
      this.#outward.set(name, name)
    }
  }

  /** The task's own name, for what the outside says; UNKNOWN_TASK for one that is not allowed, whether or not there is such a task. */
  named(name: unknown): string {
    const inside = typeof name === 'string' ? this.#inward.get(name) : undefined
    if (inside !== undefined) return inside
    throw unknown(name)
  }

  /** What is said of a task in the words of the inside, in those of the outside. */
  masked(text: string): string {
    let masked = text
    for (const [name, shown] of this.#outward)
      if (name !== shown) masked = masked.replaceAll(`'${name}'`, `'${shown}'`)
    return masked
  }

  /** A callback by URL, for which nothing but the URL's origin speaks. */
  checkWebhook(url: string): void {
    const { webhooks } = this.#needs
    if (
      webhooks === true ||
      (webhooks !== undefined && URL.canParse(url) && webhooks.has(new URL(url).origin))
    )
      return
    throw new DeferqError(
      'INVALID_OPTION',
      webhooks === undefined
        ? 'callback: this server posts to no URL. Name a task instead, or have the server started with webhooks.'
        : `callback: this server posts to ${[...webhooks].join(', ')}, and not to '${url.slice(0, 200)}'.`,
    )
  }

  /** As the outside calls it; undefined where it may not see it. */
  shown(name: string): string | undefined {
    return this.#outward.get(name)
  }

  async open(): Promise<void> {
    await this.#needs.engine()
  }

  /** What lies behind belongs to somebody else. */
  async close(): Promise<void> {}

  async admit(drafts: readonly Draft[]): Promise<Verdict[]> {
    drafts.forEach((draft) => {
      this.#check(draft)
    })
    const verdicts = await (await this.#needs.engine()).admit(drafts)
    return verdicts.map((verdict) => {
      const entry = this.#outwards(verdict.entry)
      if (entry === undefined) throw hidden()
      return entry === verdict.entry ? verdict : { ...verdict, entry }
    })
  }

  async read(ids: readonly string[], watch?: boolean): Promise<(Entry | undefined)[]> {
    const entries = await (await this.#needs.engine()).read(ids, watch)
    return entries.map((entry) => entry && this.#outwards(entry))
  }

  cancel(ids: readonly string[], reason?: string): Promise<CancelAnswer[]> {
    return this.#ofShown(ids, (engine, shown) => engine.cancel(shown, reason))
  }

  promote(ids: readonly string[], priority?: number): Promise<PromoteAnswer[]> {
    return this.#ofShown(ids, (engine, shown) => engine.promote(shown, priority))
  }

  async #ofShown<Answer>(
    ids: readonly string[],
    ask: (engine: Engine, ids: readonly string[]) => Promise<Answer[]>,
  ): Promise<(Answer | 'unknown')[]> {
    const seen = (await this.read(ids)).map((entry) => entry !== undefined)
    const answers = await ask(
      await this.#needs.engine(),
      ids.filter((_, index) => seen[index]),
    )
    let next = 0
    return seen.map((is) => (is ? (answers[next++] as Answer) : 'unknown'))
  }

  async invalidate(selector: Selector): Promise<number> {
    const engine = await this.#needs.engine()
    if ('name' in selector) return engine.invalidate(selector)
    const standing = await engine.read(selector.keys)
    const keys = selector.keys.filter((_, index) => {
      const entry = standing[index]
      return entry === undefined || this.shown(entry.name) !== undefined
    })
    return keys.length === 0 ? 0 : engine.invalidate({ keys })
  }

  async list(filter: Filter, cursor?: string): Promise<Page> {
    const page = await (await this.#needs.engine()).list(filter, cursor)
    return { ...page, entries: page.entries.flatMap((entry) => this.#outwards(entry) ?? []) }
  }

  async count(): Promise<Counts> {
    const counts = await (await this.#needs.engine()).count()
    const lanes = counts.lanes.flatMap((lane) => {
      const name = this.shown(lane.name)
      return name === undefined ? [] : [{ ...lane, name }]
    })
    const paused = counts.paused.flatMap((each): Lanes[] => {
      if ('queue' in each) return [each]
      const name = this.shown(each.name)
      return name === undefined ? [] : [{ name }]
    })
    return { ...counts, lanes, paused }
  }

  listen(hear: (hint: Hint) => void): Listening {
    const stop = this.#needs.listen((hint) => {
      // What is said of a run is looked at, so that it goes through here as well.
      if (hint.kind === 'ended') hear({ kind: 'ended', id: hint.id })
      else if (hint.kind === 'changed') hear(hint)
    })
    return { stop, hears: () => false }
  }

  claim(): Promise<never> {
    return Promise.reject(inside('claim'))
  }
  settle(): Promise<never> {
    return Promise.reject(inside('settle'))
  }
  extend(): Promise<never> {
    return Promise.reject(inside('extend'))
  }
  sweep(): Promise<never> {
    return Promise.reject(inside('sweep'))
  }
  pause(): Promise<never> {
    return Promise.reject(inside('pause'))
  }

  /** Follow-ups too: they are dispatches as well. */
  #check({ name, then }: Draft, follows = false): void {
    // Of its params only the URL is the caller's, and that has been looked at.
    const isWebhook = follows && name === HTTP_REQUEST && this.#needs.webhooks !== undefined
    if (this.shown(name) === undefined && !isWebhook) throw unknown(name)
    for (const { draft } of then ?? []) this.#check(draft, true)
  }

  #outwards<Run extends Standing>(run: Run): Run | undefined {
    const name = this.shown(run.name)
    if (name === undefined) return undefined
    return name === run.name ? run : { ...run, name }
  }
}

const unknown = (name: unknown): DeferqError =>
  new DeferqError(
    'UNKNOWN_TASK',
    typeof name === 'string'
      ? `There is no task '${name.slice(0, 200)}' here.`
      : 'The name of a task is needed: { "name": "…" }.',
  )

const inside = (verb: string): DeferqError =>
  new DeferqError('INVALID_OPTION', `${verb}() is not offered over HTTP: workers open the store itself.`)

const hidden = (): DeferqError =>
  new DeferqError('UNKNOWN_TASK', 'What stands under this key belongs to a task that is not offered here.')
