// Plays a history of commands on a store and on the model, and compares every answer.
import type { AttemptOutcome, Claims, Draft, Engine, Policy, Want } from '../../src/contract/engine.ts'
import type { Command, History, LimitsCommand, OutcomeCommand, WantCommand } from './commands.ts'
import { UNIT_MS } from './commands.ts'
import { Difference, same, sameRun } from './compare.ts'
import type { Attempt } from './maker.ts'
import { keyText, Maker, wantOf } from './maker.ts'
import { Model } from './model.ts'
import type { Order } from './order.ts'
import { claimable, isWanted } from './order.ts'
import type { ModelRun } from './records.ts'
import { keyOf } from './records.ts'

/** One store, empty at first. */
export interface ModelStore {
  connect(): Promise<Engine>
  /** The store's clock. */
  now(): Promise<number>
  /** Moves the store's clock. */
  advance(ms: number): Promise<void>
  close(): Promise<void>
}

export interface StoreKind {
  name: string
  /** True: moments are compared to the millisecond, because the store's clock stands still between commands. */
  exact: boolean
  order: Order
  /** False: the totals of other connections are counted a while later. */
  countsTotals?: false
  /** False: a claim may find less than there is, and does not tell when something is due. */
  claimsAll?: false
  create(): Promise<ModelStore>
  /** Called after the last history. */
  close?(): Promise<void>
}

const CONNECTIONS = 3

export class Player {
  readonly #kind: StoreKind
  readonly #store: ModelStore
  readonly #engines: Engine[]
  readonly #model: Model
  readonly #shiftMs: number
  readonly #limits: LimitsCommand
  readonly #drafts: Draft[] = []
  readonly #attempts: Attempt[] = []
  readonly #maker = new Maker()

  private constructor(
    kind: StoreKind,
    store: ModelStore,
    engines: Engine[],
    now: number,
    limits: LimitsCommand,
  ) {
    this.#limits = limits
    this.#kind = kind
    this.#store = store
    this.#engines = engines
    this.#model = new Model(1_000_000_000_000, kind.order !== 'none' && kind.order.firstInFirstOut === true)
    this.#shiftMs = now - this.#model.now
  }

  /** Fails with a `Difference` that names the command. `after` is called after each command. */
  static async play(
    kind: StoreKind,
    { limits, commands }: History,
    after?: (command: Command, model: Model) => void,
  ): Promise<void> {
    const store = await kind.create()
    const engines: Engine[] = []
    try {
      for (let count = 0; count < CONNECTIONS; count++) engines.push(await store.connect())
      const player = new Player(kind, store, engines, await store.now(), limits)
      for (const [index, command] of commands.entries()) {
        try {
          await player.#play(command)
          after?.(command, player.#model)
        } catch (error) {
          if (error instanceof Error) error.message = `command ${index + 1}, ${command.do}: ${error.message}`
          throw error
        }
      }
      await player.#compareAll()
    } finally {
      for (const engine of engines) await engine.close()
      await store.close()
    }
  }

  async #play(command: Command): Promise<void> {
    // Each command has a moment of its own, so that equal moments mean the same in the store and in the model.
    await this.#advance(1)
    const engine = this.#engines[command.by] as Engine
    switch (command.do) {
      case 'admit':
        return this.#admit(
          engine,
          command.drafts.map((each) => this.#remember(this.#maker.draft(each, this.#model.now))),
        )
      case 'resend': {
        const draft = fromEnd(this.#drafts, command.which)
        const run = draft && this.#model.runs.get(draft.id)
        // A store may admit the draft of a forgotten run as a new one.
        if (draft === undefined || run === undefined || this.#model.mayBeGone(run)) return
        return this.#admit(engine, [draft])
      }
      case 'claim': {
        const want = wantOf(command.want, this.#limits)
        return this.#claimed(want, await engine.claim(want))
      }
      case 'settle':
        return this.#settle(engine, command.outcomes, command.want)
      case 'extend': {
        const attempt = fromEnd(this.#attempts, command.which)
        if (attempt === undefined || this.#isForgotten(attempt.id)) return
        const lease = { ...attempt, ...(command.progress ? { progress: this.#maker.text() } : {}) }
        const leaseMs = command.lease * UNIT_MS
        same('answer', await engine.extend([lease], leaseMs), [this.#model.extend(lease, leaseMs)])
        return
      }
      case 'sweep': {
        const { requeued, failed, abandoned } = await engine.sweep(1_000)
        const ours = this.#model.sweep(new Set([...requeued, ...failed]))
        same('requeued', requeued.sort(), ours.requeued.sort())
        same('failed', failed.sort(), ours.failed.sort())
        same('abandoned', abandoned.sort(), ours.abandoned.sort())
        return
      }
      case 'read': {
        const id = fromEnd(this.#drafts, command.which)?.id
        if (id !== undefined) await this.#read(engine, command.byKey ? keyOf(id) : id)
        return
      }
      case 'cancel': {
        const id = fromEnd(this.#drafts, command.which)?.id
        if (id === undefined || this.#isForgotten(id)) return
        const reason = command.reason ? this.#maker.text() : undefined
        same('answer', await engine.cancel([id], reason), [this.#model.cancel(id, reason)])
        return
      }
      case 'promote': {
        const id = fromEnd(this.#drafts, command.which)?.id
        if (id === undefined || this.#isForgotten(id)) return
        const { priority } = command
        same('answer', await engine.promote([id], priority), [this.#model.promote(id, priority)])
        return
      }
      case 'invalidate': {
        const selector = { keys: [keyText(command.key)] }
        same('answer', await engine.invalidate(selector), this.#model.invalidate(selector))
        return
      }
      case 'invalidate name': {
        const selector = { name: 'job' }
        same('answer', await engine.invalidate(selector), this.#model.invalidate(selector))
        return
      }
      case 'pause':
        await engine.pause(command.lanes, command.paused)
        this.#model.pause(command.lanes, command.paused)
        return
      case 'list':
        return this.#list(engine, command.status)
      case 'count':
        return this.#count(engine)
      case 'advance':
        return this.#advance(command.units * UNIT_MS)
    }
  }

  async #advance(ms: number): Promise<void> {
    this.#model.begin(ms)
    await this.#store.advance(ms)
  }

  async #admit(engine: Engine, drafts: Draft[]): Promise<void> {
    const theirs = await engine.admit(drafts.map((draft) => this.#toStore(draft)))
    for (const [index, draft] of drafts.entries()) {
      const verdict = theirs[index]
      if (verdict === undefined) throw new Difference('verdicts', theirs.length, drafts.length)
      const { outcome, run, sameParams, refreshId, freshMs } = this.#model.admit(draft)
      const { entry, freshMs: shownFresh, ...rest } = verdict
      same(
        `verdict ${index + 1}`,
        { ...rest, id: entry.id },
        { outcome, sameParams, ...(refreshId === undefined ? {} : { refreshId }), id: run.id },
      )
      if (Math.abs((shownFresh ?? -1) - (freshMs ?? -1)) > this.#slack.withinMs)
        throw new Difference(`verdict ${index + 1}: freshMs`, shownFresh, freshMs)
      // A batch is one step: later drafts of it may have changed the run since.
      if (index === drafts.length - 1) sameRun(`verdict ${index + 1}`, entry, run, false, this.#slack)
    }
  }

  async #settle(engine: Engine, commands: OutcomeCommand[], wanted: WantCommand | undefined): Promise<void> {
    const outcomes = commands.flatMap((command) => {
      const attempt = fromEnd(this.#attempts, command.which)
      if (attempt === undefined || this.#isForgotten(attempt.id)) return []
      const policy = this.#model.runs.get(attempt.id)?.policy as Policy
      return this.#maker.outcome(command, attempt, policy, this.#model.now)
    })
    if (outcomes.length === 0) return
    const want = wanted && wantOf(wanted, this.#limits)
    const { answers, ...claims } = await engine.settle(
      outcomes.map((outcome) => this.#outcomeToStore(outcome)),
      want,
    )
    same(
      'answers',
      answers,
      outcomes.map((outcome, index) => this.#model.settle(outcome, answers[index] === 'settled')),
    )
    if (want !== undefined) this.#claimed(want, claims)
  }

  /** Each run that was given out must be one that may come next. */
  #claimed(want: Want, { claimed, nextDueMs }: Claims): void {
    for (const { entry, token } of claimed) {
      const next = claimable(this.#model, want, this.#kind.order)
      const run = next.find(({ id }) => id === entry.id)
      if (run === undefined)
        throw new Difference(
          'claimed',
          entry.id,
          next.map(({ id }) => id),
        )
      this.#model.start(run, token, want.leaseMs, want.limits?.[run.name]?.rate !== undefined)
      this.#attempts.push({ id: entry.id, token })
      sameRun('claimed', entry, run, true, this.#slack)
    }
    if (claimed.length > want.limit) throw new Difference('claimed', claimed.length, want.limit)
    if (claimed.length === want.limit || this.#kind.claimsAll === false) return
    const left = claimable(this.#model, want, this.#kind.order)
    if (left.length > 0)
      throw new Difference(
        'claimed no more',
        undefined,
        left.map(({ id }) => id),
      )
    const dueIn = [...this.#model.runs.values()]
      .filter(
        (run) => run.status === 'pending' && run.dueAt > this.#model.now && isWanted(this.#model, run, want),
      )
      .filter((run) => this.#model.keys.get(run.key)?.behind !== run && this.#hasRoom(run, want))
      .map((run) => run.dueAt - this.#model.now)
    const soonest = Math.min(...dueIn)
    if ((nextDueMs ?? Number.POSITIVE_INFINITY) > soonest + this.#slack.withinMs)
      throw new Difference('nextDueMs', nextDueMs, soonest)
  }

  #hasRoom({ name, group }: ModelRun, want: Want): boolean {
    return (
      group === undefined ||
      this.#model.groups.isOpen(name, group, want.limits?.[name] ?? {}, this.#model.now)
    )
  }

  async #read(engine: Engine, idOrKey: string): Promise<void> {
    const [entry] = await engine.read([idOrKey])
    const run = this.#model.find(idOrKey)
    if (run === undefined || !this.#model.mayBeGone(run)) this.#model.read(idOrKey)
    const byKey = this.#model.keys.has(idOrKey)
    // The older result may stand under the key, if the store has forgotten the run that the model has there.
    const accepted = byKey ? this.#model.keys.get(idOrKey)?.accepted : undefined
    const mayLack = run === undefined || this.#model.mayBeGone(run) || (byKey && run.forgotten === true)
    const found = entry === undefined ? undefined : [run, accepted].find((each) => each?.id === entry.id)
    if (found === undefined || (found !== run && !mayLack)) {
      if (entry === undefined && mayLack) return
      throw new Difference('read', entry?.id, run)
    }
    if (entry === undefined) return
    sameRun('read', entry, found, true, this.#slack)
  }

  async #list(engine: Engine, status: 'pending' | 'running' | 'completed' | undefined): Promise<void> {
    const listed: string[] = []
    let cursor: string | undefined
    do {
      const page = await engine.list({ limit: 2, ...(status === undefined ? {} : { status }) }, cursor)
      listed.push(...page.entries.map(({ id }) => id))
      cursor = page.cursor
    } while (cursor !== undefined)
    const all = [...this.#model.runs.values()].filter((run) => status === undefined || run.status === status)
    const certain = all.filter((run) => !this.#model.mayBeGone(run)).map(({ id }) => id)
    const forgotten = new Set(all.filter((run) => this.#model.mayBeGone(run)).map(({ id }) => id))
    same('listed', listed.filter((id) => !forgotten.has(id)).sort(), certain.sort())
    same('listed twice', new Set(listed).size, listed.length)
  }

  async #count(engine: Engine): Promise<void> {
    const { lanes, paused, totals } = await engine.count()
    const ours = new Map<string, { queue: string; name: string; pending: number; running: number }>()
    for (const { queue, name, status } of this.#model.runs.values()) {
      if (status !== 'pending' && status !== 'running') continue
      const lane = ours.get(`${queue} ${name}`) ?? { queue, name, pending: 0, running: 0 }
      ours.set(`${queue} ${name}`, lane)
      lane[status]++
    }
    same('lanes', byText(lanes), byText([...ours.values()]))
    same('paused', byText(paused), byText([...this.#model.paused.values()]))
    if (this.#kind.countsTotals === false) return
    const shown = Object.fromEntries(Object.entries(totals).filter(([, count]) => count > 0))
    same('totals', byText(Object.entries(shown)), byText(Object.entries(this.#model.totals)))
  }

  /** At the end, every run is as the model has it. */
  async #compareAll(): Promise<void> {
    const engine = this.#engines[0] as Engine
    for (const run of this.#model.runs.values()) await this.#read(engine, run.id)
    for (const key of this.#model.keys.keys()) await this.#read(engine, key)
    await this.#list(engine, undefined)
    await this.#count(engine)
  }

  #remember(draft: Draft): Draft {
    this.#drafts.push(draft)
    return draft
  }

  #isForgotten(id: string): boolean {
    const run = this.#model.runs.get(id)
    return run === undefined || this.#model.mayBeGone(run)
  }

  get #slack(): { shiftMs: number; withinMs: number } {
    return { shiftMs: this.#shiftMs, withinMs: this.#kind.exact ? 0 : UNIT_MS / 2 }
  }

  /** The same draft, with moments of the store's clock. */
  #toStore(draft: Draft): Draft {
    const then = draft.then?.map((follow) => ({ ...follow, draft: this.#toStore(follow.draft) }))
    const dueAt = draft.dueAt === undefined ? undefined : draft.dueAt + this.#shiftMs
    return { ...draft, ...(then && { then }), ...(dueAt === undefined ? {} : { dueAt }) }
  }

  #outcomeToStore(outcome: AttemptOutcome): AttemptOutcome {
    if (outcome.kind !== 'released' || outcome.dueAt === undefined) return outcome
    return { ...outcome, dueAt: outcome.dueAt + this.#shiftMs }
  }
}

const fromEnd = <T>(items: readonly T[], which: number): T | undefined => items.at(-1 - which)

const byText = (items: readonly unknown[]): string[] => items.map((item) => JSON.stringify(item)).sort()
