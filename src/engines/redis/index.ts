// The Redis engine: the contract's verbs over one server, a cluster, or a master watched by sentinels.

import type { ConnectionOptions } from 'node:tls'
import { environment } from '../../base/environment.ts'
import type {
  AttemptOutcome,
  CancelAnswer,
  Claims,
  Counts,
  Draft,
  Engine,
  Entry,
  Filter,
  Hint,
  Lanes,
  Lease,
  LeaseAnswer,
  Listening,
  Page,
  PromoteAnswer,
  Selector,
  Settled,
  Swept,
  Verdict,
  Want,
  WriteOptions,
} from '../../contract/engine.ts'
import { checkBatch, refuseTx, shardOf } from '../../contract/engine.ts'
import { closedError } from '../../drivers/redis-connection.ts'
import { Troubles } from '../../drivers/redis-troubles.ts'
import type { Target } from '../../drivers/redis-url.ts'
import { checkPrefix, checkShards, readUrl } from '../../drivers/redis-url.ts'
import { admitArgs, admitReply } from './encode-admit.ts'
import { begunAlone } from './fast-path.ts'
import { invalidateArgs, invalidateReply } from './invalidate.ts'
import { extendArgs, extendReply } from './leases.ts'
import type { RedisEngineOptions } from './options.ts'
import { countShards, invalidateName, listShards, sweepShards } from './over-shards.ts'
import { cancelArgs, cancelReply, pauseArgs, promoteArgs, promoteReply, readArgs, readReply } from './runs.ts'
import type { ScriptName, Scripts } from './scripts.ts'
import { compile, SCRIPTS } from './scripts.ts'
import type { SessionOptions } from './session.ts'
import { Session } from './session.ts'
import { parcels, spread } from './shards.ts'

export type { RedisEngineOptions } from './options.ts'

/** For tests of tests: a function under this name in the options rewrites each script before it is used. */
export const REWRITE = Symbol('deferq.redis.rewrite')

export class RedisEngine implements Engine {
  readonly name = 'redis'
  readonly #target: Target
  readonly #prefix: string
  readonly #shards: number | undefined
  readonly #settings: { timeoutMs: number; tls?: ConnectionOptions }
  readonly #scripts: Scripts
  /** Unique to this instance; short, because it lies in each entry that it watches. */
  readonly #address = environment.randomBytes(6).toString('base64url')
  readonly #listeners = new Set<(hint: Hint) => void>()
  readonly #troubles = new Troubles((message, error) => this.#tell({ kind: 'trouble', message, error }))
  #opening: Promise<Session> | undefined
  #session: Session | undefined
  #abandon: () => void = () => {}
  #closing: Promise<void> | undefined
  #sweeps = 0

  constructor(options: RedisEngineOptions) {
    this.#target = readUrl(options.url)
    this.#prefix = checkPrefix(options.prefix ?? this.#target.prefix ?? 'deferq')
    this.#shards = options.shards === undefined ? this.#target.shards : checkShards(options.shards)
    this.#settings = { timeoutMs: options.timeoutMs ?? 5_000, ...(options.tls ? { tls: options.tls } : {}) }
    const rewrite = (options as { [REWRITE]?: (source: string) => string })[REWRITE]
    this.#scripts = rewrite === undefined ? SCRIPTS : compile(rewrite)
  }

  get caveats(): readonly string[] {
    return this.#session?.caveats ?? []
  }

  async open(): Promise<void> {
    await this.#open()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  get shards(): number {
    return this.#session?.tags.length ?? 1
  }

  async admit(drafts: readonly Draft[], options?: WriteOptions): Promise<Verdict[]> {
    refuseTx(options, this.name, 'admit')
    return drafts.length === 1
      ? await this.#admitOne(drafts)
      : await this.#each('admit', drafts, byId, (items, run) => this.#admitMany(items, run))
  }

  /** It may be this instance itself that waits for it. */
  async #admitOne(drafts: readonly Draft[]): Promise<Verdict[]> {
    const session = this.#opened(drafts, 'admit') ?? (await this.#open())
    const { turns } = session
    const draft = drafts[0] as Draft
    const shard = shardOf(draft.id, this.shards)
    const wait = turns.waitFor(shard, draft)
    const args = admitArgs(drafts, this.#address, wait)
    const reply = await session.run('admit', shard, args)
    if (typeof reply !== 'string' || wait === undefined) return admitReply(reply, drafts)
    const [verdict, begun] = begunAlone(draft, args, reply)
    turns.handOver(shard, wait.member, begun)
    return [verdict]
  }

  async #admitMany(drafts: readonly Draft[], run: Run): Promise<Verdict[]> {
    const verdicts: Verdict[] = []
    for (const parcel of parcels(drafts, ({ params }) => params.length)) {
      verdicts.push(...admitReply(await run(admitArgs(parcel, this.#address)), parcel))
    }
    return verdicts
  }

  async claim(want: Want): Promise<Claims> {
    const { turns } = await this.#ready()
    const { answers: _none, ...claims } = await turns.take([], want)
    return claims
  }

  async settle(outcomes: readonly AttemptOutcome[], want?: Want, options?: WriteOptions): Promise<Settled> {
    refuseTx(options, this.name, 'settle')
    const { turns } = this.#opened(outcomes, 'settle') ?? (await this.#open())
    if (outcomes.length === 1) return await turns.take(outcomes, want)
    const all = parcels(outcomes, (outcome) => ('result' in outcome ? outcome.result.length : 0))
    const last = all.pop() ?? []
    const answers: Settled['answers'] = []
    for (const parcel of all) answers.push(...(await turns.take(parcel)).answers)
    const settled = await turns.take(last, want)
    return all.length === 0 ? settled : { ...settled, answers: answers.concat(settled.answers) }
  }

  async extend(leases: readonly Lease[], leaseMs: number): Promise<LeaseAnswer[]> {
    return this.#each('extend', leases, byId, async (items, run) =>
      extendReply(await run(extendArgs(items, leaseMs))),
    )
  }

  async sweep(limit: number): Promise<Swept> {
    const session = await this.#ready()
    const { swept, failure } = await sweepShards(session, limit, this.#sweeps++)
    if (failure !== undefined) this.#troubles.hear('A part of the store can’t be swept.', failure)
    return swept
  }

  async read(ids: readonly string[], watch = false): Promise<(Entry | undefined)[]> {
    const watcher = watch ? this.#address : ''
    return this.#each('read', ids, itself, async (items, run) =>
      readReply(await run(readArgs(items, watcher))),
    )
  }

  async cancel(ids: readonly string[], reason?: string, options?: WriteOptions): Promise<CancelAnswer[]> {
    refuseTx(options, this.name, 'cancel')
    return this.#each('cancel', ids, itself, async (items, run) =>
      cancelReply(await run(cancelArgs(items, reason))),
    )
  }

  async promote(ids: readonly string[], priority?: number, options?: WriteOptions): Promise<PromoteAnswer[]> {
    refuseTx(options, this.name, 'promote')
    return this.#each('promote', ids, itself, async (items, run) =>
      promoteReply(await run(promoteArgs(items, priority))),
    )
  }

  async invalidate(selector: Selector, options?: WriteOptions): Promise<number> {
    refuseTx(options, this.name, 'invalidate')
    const counts =
      'keys' in selector
        ? this.#each('invalidateKeys', selector.keys, itself, async (items, run) => [
            invalidateReply(await run(invalidateArgs(items))),
          ])
        : this.#ready().then((session) =>
            Promise.all(session.tags.map((_tag, shard) => invalidateName(session, shard, selector.name))),
          )
    return (await counts).reduce((sum, count) => sum + count, 0)
  }

  /** Shard by shard: should one be away, this fails, and may be repeated. */
  async pause(lanes: Lanes, paused: boolean): Promise<void> {
    const session = await this.#ready()
    await Promise.all(
      session.tags.map((_tag, shard) => session.run('pause', shard, pauseArgs(lanes, paused))),
    )
  }

  async list(filter: Filter, cursor?: string): Promise<Page> {
    const session = await this.#ready()
    return listShards(session, filter, cursor)
  }

  async count(): Promise<Counts> {
    const session = await this.#ready()
    return countShards(session)
  }

  listen(hear: (hint: Hint) => void): Listening {
    this.#listeners.add(hear)
    return { stop: () => this.#listeners.delete(hear), hears: () => this.#session?.hears === true }
  }

  #tell(hint: Hint): void {
    for (const hear of this.#listeners) {
      try {
        hear(hint)
      } catch (error) {
        // It would end the process from within an event of the connection.
        if (hint.kind !== 'trouble')
          this.#troubles.hear(`A listener failed on the hint '${hint.kind}'.`, error)
      }
    }
  }

  async #ready(): Promise<Session> {
    return this.#opened([], '') ?? this.#open()
  }

  /** Undefined while it is still to be opened. */
  #opened(items: readonly unknown[], method: string): Session | undefined {
    if (this.#closing !== undefined) throw closedError(this.#target.masked)
    checkBatch(items, method)
    return this.#session
  }

  #open(): Promise<Session> {
    if (this.#closing !== undefined) return Promise.reject(closedError(this.#target.masked))
    const options: SessionOptions = {
      target: this.#target,
      prefix: this.#prefix,
      shards: this.#shards,
      settings: this.#settings,
      scripts: this.#scripts,
      address: this.#address,
      tell: (hint) => this.#tell(hint),
      troubles: this.#troubles,
    }
    this.#opening ??= Session.open(options, (end) => {
      this.#abandon = end
    }).then(
      (session) => {
        this.#session = session
        return session
      },
      (error: unknown) => {
        // The next call tries anew.
        this.#opening = undefined
        throw error
      },
    )
    return this.#opening
  }

  async #close(): Promise<void> {
    const opening = this.#opening
    if (this.#session === undefined) this.#abandon()
    else await this.#session.close()
    await opening?.catch(() => {})
    this.#listeners.clear()
  }

  /** One script per shard, at once; answers in the order of the items. */
  async #each<Item, Answer>(
    name: ScriptName,
    items: readonly Item[],
    id: (item: Item) => string,
    ask: (items: readonly Item[], run: Run) => Promise<Answer[]>,
  ): Promise<Answer[]> {
    const method = name.startsWith('invalidate') ? 'invalidate' : name
    const session = this.#opened(items, method) ?? (await this.#open())
    const { tags } = session
    if (tags.length === 1 && items.length > 0) return await ask(items, (args) => session.run(name, 0, args))
    const answers: Answer[] = []
    await Promise.all(
      spread(items, tags.length, id).map(async ({ shard, items, at }) => {
        const found = await ask(items, (args) => session.run(name, shard, args))
        for (const [index, answer] of found.entries()) answers[at[index] as number] = answer
      }),
    )
    return answers
  }
}

/** Sends a script to a shard. */
type Run = (args: readonly string[]) => Promise<unknown>

const byId = ({ id }: { id: string }): string => id
const itself = (id: string): string => id
