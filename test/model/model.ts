// The model: what every store does, as one sequential program that is written to be read. It knows no engine and imports none of
// their code. Tests play the same commands on an engine and on the model, and compare every answer.
import type {
  AdmitOutcome,
  AttemptOutcome,
  CancelAnswer,
  Draft,
  Lanes,
  Lease,
  LeaseAnswer,
  PromoteAnswer,
  Selector,
  SettleAnswer,
} from '../../src/contract/engine.ts'
import type { ModelRun, UnderKey } from './records.ts'
import { dueOf, isLive, keyOf } from './records.ts'
import { addError, Runs } from './runs.ts'

export interface ModelVerdict {
  outcome: AdmitOutcome
  run: ModelRun
  sameParams: boolean
  refreshId?: string
  freshMs?: number
}

const REFRESH_PRIORITY = -10

export class Model extends Runs {
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
      return { ...this.counted('created'), run: this.create(draft), sameParams: true }

    const sameParams = draft.onMismatch === undefined || draft.params === answers.params
    if (!sameParams && draft.onMismatch === 'reject')
      return { ...this.counted('rejected'), run: answers, sameParams }

    if (usable !== undefined && this.now < (usable.freshUntil as number)) {
      for (const follow of draft.then ?? []) this.follow(follow, usable)
      const freshMs = (usable.freshUntil as number) - this.now
      return { ...this.counted('hit'), run: usable, sameParams, freshMs }
    }
    if (usable !== undefined) {
      for (const follow of draft.then ?? []) this.follow(follow, usable)
      const { attended: _, ...plain } = draft
      const refresh = { ...plain, then: [], priority: Math.min(draft.priority, REFRESH_PRIORITY) }
      let refreshId = live?.id
      if (live === undefined && failed === undefined) {
        this.counted('created')
        refreshId = this.create(refresh).id
      }
      return {
        ...this.counted('stale'),
        run: usable,
        sameParams,
        ...(refreshId === undefined ? {} : { refreshId }),
      }
    }
    if (live !== undefined) return this.#meet(draft, key, live)
    for (const follow of draft.then ?? []) this.follow(follow, answers)
    return { ...this.counted('negative'), run: answers, sameParams }
  }

  /** A draft meets a live run. */
  #meet(draft: Draft, key: UnderKey, live: ModelRun): ModelVerdict {
    const { onDuplicate = {} } = draft
    const rerun = onDuplicate.running === 'rerunAfter'
    if (rerun && key.behind === undefined && live.status === 'running') {
      const run = (key.behind = this.born(draft, undefined))
      return { ...this.counted('created'), run, sameParams: true }
    }
    const met = (rerun ? key.behind : undefined) ?? live
    const sameParams = draft.onMismatch === undefined || draft.params === met.params
    switch (met.status === 'running' ? onDuplicate.running : onDuplicate.pending) {
      case 'reject':
        return { ...this.counted('rejected'), run: met, sameParams }
      case 'supersede': {
        const { behind } = key
        if (behind !== undefined) this.cancelRun(behind, 'SUPERSEDED')
        if (met !== behind) {
          this.cancelRun(live, 'SUPERSEDED')
          return { ...this.counted('created'), run: this.create(draft), sameParams: true }
        }
        const run = (key.behind = this.born(draft, undefined))
        return { ...this.counted('created'), run, sameParams: true }
      }
      case 'replace':
        met.params = draft.params
        met.extra = draft.extra
        if (met.attempt === 0) met.dueAt = dueOf(draft, this.now, met.createdAt)
        this.#join(draft, met, met.dueAt)
        return { ...this.counted('joined'), run: met, sameParams: true }
      default:
        this.#join(draft, met, dueOf(draft, this.now, met.createdAt))
        return { ...this.counted('joined'), run: met, sameParams }
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
      this.counted('outcomesRefused')
      return 'lost'
    }
    run.settledTokens.push(outcome.token)
    if (outcome.kind === 'completed') {
      this.end(run, 'completed', outcome.result)
    } else if (outcome.kind === 'failed' || outcome.kind === 'cancelled') {
      addError(run, outcome.error)
      this.end(run, outcome.kind)
    } else if (outcome.kind === 'retry') {
      addError(run, outcome.error)
      this.counted('retried')
      this.requeue(run, this.now + outcome.delayMs)
    } else {
      run.attempt--
      run.params = outcome.params ?? run.params
      this.requeue(run, Math.max(run.createdAt, outcome.dueAt ?? run.dueAt))
    }
    for (const draft of outcome.then ?? []) this.admitFollowUp(draft)
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
    this.sweeping = true
    const swept = { requeued: [] as string[], failed: [] as string[], abandoned: [] as string[] }
    for (const run of [...this.runs.values()]) {
      if (run.status !== 'running' || run.leaseUntil > this.now) continue
      if (this.#isAbandoned(run) && !expired.has(run.id)) continue
      addError(run, 'LEASE_LOST')
      this.counted('leasesLost')
      if (run.attempt < run.policy.maxAttempts) {
        this.requeue(run, this.now)
        swept.requeued.push(run.id)
      } else {
        this.end(run, 'failed')
        swept.failed.push(run.id)
      }
    }
    for (const run of [...this.runs.values()]) {
      if (!this.#isAbandoned(run)) continue
      this.cancelRun(run, 'ABANDONED')
      swept.abandoned.push(run.id)
    }
    this.groups.swept()
    this.sweeping = false
    return swept
  }

  #isAbandoned(run: ModelRun): boolean {
    const { attended } = run
    if (!isLive(run) || attended === undefined || attended.until > this.now) return false
    return run.status === 'pending' || attended.running
  }

  // Changes from outside.

  cancel(id: string, reason?: string): CancelAnswer {
    const run = this.find(id)
    if (run === undefined) return 'unknown'
    if (run.status === 'cancelled') return 'cancelled'
    if (!isLive(run)) return 'ended'
    this.cancelRun(run, reason)
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
        this.advance(key)
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
}
