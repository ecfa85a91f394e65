// The model's runs: how they are born, go back to their lane and end.
import type { Draft, FollowUp, Lanes, Parent, Total } from '../../src/contract/engine.ts'
import { Groups } from './groups.ts'
import type { ModelRun, UnderKey } from './records.ts'
import { keyOf, MAX_ERRORS, newRun } from './records.ts'

/** The birth of follow-ups that have no order among them. */
const LAST = Number.MAX_SAFE_INTEGER

export class Runs {
  now: number
  readonly runs = new Map<string, ModelRun>()
  readonly keys = new Map<string, UnderKey>()
  readonly groups = new Groups()
  readonly paused = new Map<string, Lanes>()
  readonly totals: Partial<Record<Total, number>> = {}
  /** Counts commands, and births within a command. */
  #step = 0
  #births = 0
  readonly #effectsInOrder: boolean
  protected sweeping = false

  /** `effectsInOrder`: false for stores that promise no order among the follow-ups that one command bears. */
  constructor(now: number, effectsInOrder = true) {
    this.now = now
    this.#effectsInOrder = effectsInOrder
  }

  /** A command begins, at a moment of its own. */
  begin(ms: number): void {
    this.now += ms
    this.#step++
    this.#births = 0
  }

  protected create(draft: Draft, parent?: Parent, birth = ++this.#births): ModelRun {
    const key = this.under(keyOf(draft.id))
    if (key.accepted !== undefined && this.now >= (key.accepted.staleUntil as number))
      key.accepted = undefined
    return (key.stands = this.born(draft, parent, birth))
  }

  protected born(draft: Draft, parent: Parent | undefined, birth = ++this.#births): ModelRun {
    const run = newRun(draft, [this.#step, birth], this.now, parent)
    this.runs.set(run.id, run)
    return run
  }

  protected requeue(run: ModelRun, dueAt: number): void {
    this.over(run)
    run.status = 'pending'
    run.dueAt = dueAt
  }

  protected over(run: ModelRun): void {
    if (run.status === 'running' && run.group !== undefined) this.groups.over(run.name, run.group)
    run.token = undefined
  }

  // Ends: the record, then the next run in line, then the follow-ups.

  protected end(run: ModelRun, status: 'completed' | 'failed' | 'cancelled', result?: string): void {
    const { policy } = run
    const key = this.under(run.key)
    const window = (run.startedAt ?? 0) + (policy.everyMs ?? 0)
    this.over(run)
    run.status = status
    run.finishedAt = this.now
    run.attended = undefined
    if (status === 'completed') {
      const stands = key.stands === run
      run.result = result as string
      run.freshUntil = stands ? Math.max(this.now + policy.resultTtlMs, window) : this.now
      run.staleUntil = stands ? run.freshUntil + policy.staleTtlMs : this.now
      if (stands) key.accepted = run
    } else if (status === 'failed') {
      run.rememberedUntil = Math.max(this.now + policy.failureTtlMs, window)
    }
    this.counted(status)
    if (key.behind === run) key.behind = undefined
    else if (key.stands === run) this.advance(key)
    const { followUps } = run
    run.followUps = []
    for (const follow of followUps) this.follow(follow, run)
  }

  /** The run that waits behind another takes its place. */
  protected advance(key: UnderKey): void {
    if (key.behind === undefined) return
    key.stands = key.behind
    key.behind = undefined
  }

  protected follow({ on, draft, sameParent }: FollowUp, run: ModelRun): void {
    if (on === 'success' && run.status !== 'completed') return
    if (on === 'failure' && run.status === 'completed') return
    const value = run.status === 'completed' ? run.result : run.errors.at(-1)
    const told = {
      id: run.id,
      name: run.name,
      status: run.status,
      ...(value === undefined ? {} : { value }),
    } as Parent
    this.admitFollowUp(draft, sameParent ? run.parent : told)
  }

  protected admitFollowUp(draft: Draft, parent?: Parent): void {
    if (this.runs.has(draft.id)) return
    this.counted('created')
    this.create(draft, parent, this.#effectsInOrder && !this.sweeping ? undefined : LAST)
  }

  protected cancelRun(run: ModelRun, reason: string | undefined): void {
    if (reason !== undefined) addError(run, reason)
    this.end(run, 'cancelled')
  }

  find(idOrKey: string): ModelRun | undefined {
    const key = this.keys.get(idOrKey)
    return key === undefined ? this.runs.get(idOrKey) : (key.stands ?? key.accepted)
  }

  under(key: string): UnderKey {
    let under = this.keys.get(key)
    if (under === undefined) this.keys.set(key, (under = {}))
    return under
  }

  /** True if the store may have forgotten the run. */
  mayBeGone(run: ModelRun): boolean {
    const { finishedAt, policy, rememberedUntil, staleUntil = 0 } = run
    if (finishedAt === undefined) return false
    return Math.max(finishedAt + policy.retentionMs, rememberedUntil, staleUntil) <= this.now
  }

  protected counted<T extends Total>(total: T): { outcome: T } {
    this.totals[total] = (this.totals[total] ?? 0) + 1
    return { outcome: total }
  }
}

export function addError(run: ModelRun, error: string): void {
  run.errors = [...run.errors, error].slice(-MAX_ERRORS)
}
