// The model: what every store does, as one sequential program that is written to be read. It knows no engine and imports none of
// their code. Tests play the same commands on an engine and on the model, and compare every answer.
import type {
  AdmitOutcome,
  AttemptOutcome,
  CancelAnswer,
  Draft,
  FollowUp,
  Lanes,
  Lease,
  LeaseAnswer,
  Parent,
  PromoteAnswer,
  Selector,
  SettleAnswer,
  Total,
} from '../../src/contract/engine.ts'
import { Groups } from './groups.ts'
import type { ModelRun, UnderKey } from './records.ts'
import { dueOf, isLive, keyOf, MAX_ERRORS, newRun } from './records.ts'

export interface ModelVerdict {
  outcome: AdmitOutcome
  run: ModelRun
  sameParams: boolean
  refreshId?: string
  freshMs?: number
}

const REFRESH_PRIORITY = -10
/** The birth of follow-ups that have no order among them. */
const LAST = Number.MAX_SAFE_INTEGER

export class Model {
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
  #sweeping = false

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

  // Admission: the table in the contract, from top to bottom.

  admit(draft: Draft): ModelVerdict {
    const key = this.under(keyOf(draft.id))
    const { stands, accepted } = key
    const usable =
      !draft.refresh && accepted !== undefined && this.now < (accepted.staleUntil as number)
        ? accepted
        : undefined

    const own = this.runs.get(draft.id)
    if (own !== undefined) {
      if (usable === undefined || usable === own) return { outcome: 'created', run: own, sameParams: true }
      return { outcome: 'stale', run: usable, sameParams: true, refreshId: own.id }
    }

    const live = stands !== undefined && isLive(stands) ? stands : undefined
    const failed = stands?.status === 'failed' && this.now < stands.rememberedUntil ? stands : undefined
    const answers = usable ?? live ?? (draft.refresh ? undefined : failed)
    if (answers === undefined)
      return { ...this.#count('created'), run: this.#create(draft), sameParams: true }

    const sameParams = draft.onMismatch === undefined || draft.params === answers.params
    if (!sameParams && draft.onMismatch === 'reject')
      return { ...this.#count('rejected'), run: answers, sameParams }

    if (usable !== undefined && this.now < (usable.freshUntil as number)) {
      for (const follow of draft.then ?? []) this.#follow(follow, usable)
      const freshMs = (usable.freshUntil as number) - this.now
      return { ...this.#count('hit'), run: usable, sameParams, freshMs }
    }
    if (usable !== undefined) {
      for (const follow of draft.then ?? []) this.#follow(follow, usable)
      const { attended: _, ...plain } = draft
      const refresh = { ...plain, then: [], priority: Math.min(draft.priority, REFRESH_PRIORITY) }
      let refreshId = live?.id
      if (live === undefined && failed === undefined) {
        this.#count('created')
        refreshId = this.#create(refresh).id
      }
      return {
        ...this.#count('stale'),
        run: usable,
        sameParams,
        ...(refreshId === undefined ? {} : { refreshId }),
      }
    }
    if (live !== undefined) return this.#meet(draft, key, live)
    for (const follow of draft.then ?? []) this.#follow(follow, answers)
    return { ...this.#count('negative'), run: answers, sameParams }
  }

  /** A draft meets a live run. */
  #meet(draft: Draft, key: UnderKey, live: ModelRun): ModelVerdict {
    const { onDuplicate = {} } = draft
    const rerun = onDuplicate.running === 'rerunAfter'
    if (rerun && key.behind === undefined && live.status === 'running') {
      const run = (key.behind = this.#born(draft, undefined))
      return { ...this.#count('created'), run, sameParams: true }
    }
    const met = (rerun ? key.behind : undefined) ?? live
    const sameParams = draft.onMismatch === undefined || draft.params === met.params
    switch (met.status === 'running' ? onDuplicate.running : onDuplicate.pending) {
      case 'reject':
        return { ...this.#count('rejected'), run: met, sameParams }
      case 'supersede': {
        const { behind } = key
        if (behind !== undefined) this.#cancel(behind, 'SUPERSEDED')
        if (met !== behind) {
          this.#cancel(live, 'SUPERSEDED')
          return { ...this.#count('created'), run: this.#create(draft), sameParams: true }
        }
        const run = (key.behind = this.#born(draft, undefined))
        return { ...this.#count('created'), run, sameParams: true }
      }
      case 'replace':
        met.params = draft.params
        met.extra = draft.extra
        if (met.attempt === 0) met.dueAt = dueOf(draft, this.now, met.createdAt)
        this.#join(draft, met, met.dueAt)
        return { ...this.#count('joined'), run: met, sameParams: true }
      default:
        this.#join(draft, met, dueOf(draft, this.now, met.createdAt))
        return { ...this.#count('joined'), run: met, sameParams }
    }
  }

  #join(draft: Draft, run: ModelRun, dueAt: number): void {
    const retentionMs = Math.max(run.policy.retentionMs, draft.policy.retentionMs)
    run.policy = { ...run.policy, retentionMs }
    for (const follow of draft.then ?? [])
      if (!run.followUps.some((known) => known.draft.id === follow.draft.id)) run.followUps.push(follow)
    const { attended: ours } = run
    const { attended: theirs } = draft
    if (ours !== undefined) {
      const ms = Math.max(ours.ms, theirs?.ms ?? 0)
      run.attended = theirs && { ms, running: ours.running && theirs.running, until: this.now + ms }
    }
    // A run that was tried before keeps its back-off.
    if (run.attempt === 0) run.dueAt = Math.min(run.dueAt, dueAt)
    run.priority = Math.max(run.priority, draft.priority)
  }

  #create(draft: Draft, parent?: Parent, birth = ++this.#births): ModelRun {
    const key = this.under(keyOf(draft.id))
    if (key.accepted !== undefined && this.now >= (key.accepted.staleUntil as number))
      key.accepted = undefined
    return (key.stands = this.#born(draft, parent, birth))
  }

  #born(draft: Draft, parent: Parent | undefined, birth = ++this.#births): ModelRun {
    const run = newRun(draft, [this.#step, birth], this.now, parent)
    this.runs.set(run.id, run)
    return run
  }

  // Attempts.

  /** The run that a claim gave out. */
  start(run: ModelRun, token: string, leaseMs: number, rate: boolean): void {
    run.status = 'running'
    run.attempt++
    run.startedAt = this.now
    run.token = token
    run.leaseUntil = this.now + leaseMs
    if (run.group !== undefined) this.groups.begin(run.name, run.group, this.now, rate)
  }

  /** `remembers`: the store answers as at first for an attempt before the last one, too; it need not. */
  settle(outcome: AttemptOutcome, remembers = false): SettleAnswer {
    const run = this.runs.get(outcome.id)
    if (run === undefined || run.status !== 'running' || run.token !== outcome.token) {
      const known = remembers
        ? run?.settledTokens.includes(outcome.token)
        : run?.settledTokens.at(-1) === outcome.token
      if (known) return 'settled'
      this.#count('outcomesRefused')
      return 'lost'
    }
    run.settledTokens.push(outcome.token)
    if (outcome.kind === 'completed') {
      this.#end(run, 'completed', outcome.result)
    } else if (outcome.kind === 'failed' || outcome.kind === 'cancelled') {
      addError(run, outcome.error)
      this.#end(run, outcome.kind)
    } else if (outcome.kind === 'retry') {
      addError(run, outcome.error)
      this.#count('retried')
      this.#requeue(run, this.now + outcome.delayMs)
    } else {
      run.attempt--
      run.params = outcome.params ?? run.params
      this.#requeue(run, Math.max(run.createdAt, outcome.dueAt ?? run.dueAt))
    }
    for (const draft of outcome.then ?? []) this.#admitFollowUp(draft)
    return 'settled'
  }

  extend({ id, token, progress }: Lease, leaseMs: number): LeaseAnswer {
    const run = this.runs.get(id)
    if (run === undefined || run.token !== token) return run?.status === 'cancelled' ? 'cancelled' : 'lost'
    run.leaseUntil = this.now + leaseMs
    if (progress !== undefined) run.progress = progress
    return 'held'
  }

  /** A sweep goes through the store in any order. `expired`: of what the store brought back or failed; it may have cancelled the rest first. */
  sweep(expired: ReadonlySet<string>): { requeued: string[]; failed: string[]; abandoned: string[] } {
    this.#sweeping = true
    const swept = { requeued: [] as string[], failed: [] as string[], abandoned: [] as string[] }
    for (const run of [...this.runs.values()]) {
      if (run.status !== 'running' || run.leaseUntil > this.now) continue
      if (this.#isAbandoned(run) && !expired.has(run.id)) continue
      addError(run, 'LEASE_LOST')
      this.#count('leasesLost')
      if (run.attempt < run.policy.maxAttempts) {
        this.#requeue(run, this.now)
        swept.requeued.push(run.id)
      } else {
        this.#end(run, 'failed')
        swept.failed.push(run.id)
      }
    }
    for (const run of [...this.runs.values()]) {
      if (!this.#isAbandoned(run)) continue
      this.#cancel(run, 'ABANDONED')
      swept.abandoned.push(run.id)
    }
    this.groups.swept()
    this.#sweeping = false
    return swept
  }

  #isAbandoned(run: ModelRun): boolean {
    const { attended } = run
    if (!isLive(run) || attended === undefined || attended.until > this.now) return false
    return run.status === 'pending' || attended.running
  }

  #requeue(run: ModelRun, dueAt: number): void {
    this.#over(run)
    run.status = 'pending'
    run.dueAt = dueAt
  }

  #over(run: ModelRun): void {
    if (run.status === 'running' && run.group !== undefined) this.groups.over(run.name, run.group)
    run.token = undefined
  }

  // Ends: the record, then the next run in line, then the follow-ups.

  #end(run: ModelRun, status: 'completed' | 'failed' | 'cancelled', result?: string): void {
    const { policy } = run
    const key = this.under(run.key)
    const window = (run.startedAt ?? 0) + (policy.everyMs ?? 0)
    this.#over(run)
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
    this.#count(status)
    if (key.behind === run) key.behind = undefined
    else if (key.stands === run) this.#advance(key)
    const { followUps } = run
    run.followUps = []
    for (const follow of followUps) this.#follow(follow, run)
  }

  /** The run that waits behind another takes its place. */
  #advance(key: UnderKey): void {
    if (key.behind === undefined) return
    key.stands = key.behind
    key.behind = undefined
  }

  #follow({ on, draft, sameParent }: FollowUp, run: ModelRun): void {
    if (on === 'success' && run.status !== 'completed') return
    if (on === 'failure' && run.status === 'completed') return
    const value = run.status === 'completed' ? run.result : run.errors.at(-1)
    const told = {
      id: run.id,
      name: run.name,
      status: run.status,
      ...(value === undefined ? {} : { value }),
    } as Parent
    this.#admitFollowUp(draft, sameParent ? run.parent : told)
  }

  #admitFollowUp(draft: Draft, parent?: Parent): void {
    if (this.runs.has(draft.id)) return
    this.#count('created')
    this.#create(draft, parent, this.#effectsInOrder && !this.#sweeping ? undefined : LAST)
  }

  #cancel(run: ModelRun, reason: string | undefined): void {
    if (reason !== undefined) addError(run, reason)
    this.#end(run, 'cancelled')
  }

  // Changes from outside.

  cancel(id: string, reason?: string): CancelAnswer {
    const run = this.find(id)
    if (run === undefined) return 'unknown'
    if (run.status === 'cancelled') return 'cancelled'
    if (!isLive(run)) return 'ended'
    this.#cancel(run, reason)
    return 'cancelled'
  }

  promote(id: string, priority = Number.NEGATIVE_INFINITY): PromoteAnswer {
    const run = this.find(id)
    if (run === undefined) return 'unknown'
    if (!isLive(run)) return 'ended'
    if (run.status === 'running') return 'running'
    run.dueAt = Math.min(run.dueAt, this.now)
    run.priority = Math.max(run.priority, priority)
    return 'due'
  }

  invalidate(selector: Selector): number {
    let changed = 0
    for (const [text, key] of this.keys) {
      const { stands, accepted } = key
      const selected =
        'keys' in selector
          ? selector.keys.includes(text)
          : stands?.name === selector.name || accepted?.name === selector.name
      if (!selected) continue
      let change = false
      if (accepted !== undefined && this.now < (accepted.staleUntil as number)) {
        accepted.freshUntil = Math.min(this.now, accepted.freshUntil as number)
        accepted.staleUntil = this.now
        accepted.forgotten = true
        change = true
      }
      key.accepted = undefined
      if (stands?.status === 'failed' && this.now < stands.rememberedUntil) {
        stands.rememberedUntil = this.now
        stands.forgotten = true
        change = true
      }
      if (stands?.status === 'running') {
        key.stands = undefined
        this.#advance(key)
        change = true
      }
      if (change) changed++
    }
    return changed
  }

  pause(lanes: Lanes, paused: boolean): void {
    const name = 'queue' in lanes ? `queue ${lanes.queue}` : `name ${lanes.name}`
    if (paused) this.paused.set(name, lanes)
    else this.paused.delete(name)
  }

  read(idOrKey: string): ModelRun | undefined {
    const run = this.find(idOrKey)
    if (run?.attended !== undefined) run.attended.until = this.now + run.attended.ms
    return run
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

  #count<T extends Total>(total: T): { outcome: T } {
    this.totals[total] = (this.totals[total] ?? 0) + 1
    return { outcome: total }
  }
}

function addError(run: ModelRun, error: string): void {
  run.errors = [...run.errors, error].slice(-MAX_ERRORS)
}
