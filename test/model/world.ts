// A small world around the real memory engine: two who dispatch, two who work, one who sweeps, a clock, crashes and lost answers.
import type { AttemptOutcome, Draft, Hint, OnDuplicate, Policy, Want } from '../../src/contract/engine.ts'
import { MemoryStore } from '../../src/engines/memory/index.ts'

const UNIT_MS = 1_000
export const LEASE_UNITS = 2
/** A death of a worker counts as an attempt. */
const ATTEMPTS = 2

/** The drafts of each dispatcher, in order. */
export interface Scenario {
  name: string
  drafts: readonly (readonly DraftShape[])[]
  /** True: somebody also cancels and invalidates the first key, once each. */
  operator: boolean
}

export interface DraftShape {
  key: number
  /** Units. */
  fresh?: number
  stale?: number
  failure?: number
  refresh?: boolean
  onDuplicate?: OnDuplicate
  follows?: boolean
}

/** One step of somebody. `lost`: the store did it, and the answer never came. */
export type Action =
  | { do: 'dispatch'; who: number; lost: boolean }
  | { do: 'claim'; who: number; lost: boolean }
  | { do: 'settle'; who: number; kind: AttemptOutcome['kind']; lost: boolean }
  | { do: 'extend'; who: number }
  | { do: 'crash'; who: number }
  | { do: 'sweep' | 'tick' | 'cancel' | 'invalidate' }

export interface Dispatcher {
  sent: number
  /** Sent once, and not answered: it is sent again. */
  pending: Draft | undefined
}

export interface WorkerState {
  held: { id: string; token: string } | undefined
  pending: AttemptOutcome | undefined
}

const LIVES: Policy = {
  maxAttempts: ATTEMPTS,
  resultTtlMs: 0,
  staleTtlMs: 0,
  failureTtlMs: 0,
  retentionMs: 6 * UNIT_MS,
}
const WANT: Want = { names: ['job', 'after'], limit: 1, leaseMs: LEASE_UNITS * UNIT_MS }

export class World {
  readonly scenario: Scenario
  now = 1_000_000_000
  readonly store = new MemoryStore(() => this.now)
  readonly dispatchers: Dispatcher[]
  readonly workers: WorkerState[] = [0, 1].map(() => ({ held: undefined, pending: undefined }))
  /** Ids whose dispatcher was answered, with the id of the run that answers. */
  readonly acknowledged = new Set<string>()
  /** How many outcomes of a run the store has accepted that end it. */
  readonly ends = new Map<string, number>()
  /** Every outcome and transition that was seen, for the probes. */
  readonly seen: string[] = []
  /** Runs whose end was told to those who dispatched with `watch`, as hints. */
  readonly told = new Set<string>()
  cancelled = false
  invalidated = false

  readonly #hearing = {
    hear: (hint: Hint): void => {
      if (hint.kind === 'ended') this.told.add(hint.id)
    },
  }

  constructor(scenario: Scenario) {
    this.scenario = scenario
    this.dispatchers = scenario.drafts.map(() => ({ sent: 0, pending: undefined }))
  }

  /** The actions that may come next. */
  enabled(): Action[] {
    const actions: Action[] = [{ do: 'tick' }, { do: 'sweep' }]
    for (const [who, { sent, pending }] of this.dispatchers.entries()) {
      if (pending === undefined && sent >= (this.scenario.drafts[who]?.length ?? 0)) continue
      actions.push({ do: 'dispatch', who, lost: false })
      if (pending === undefined) actions.push({ do: 'dispatch', who, lost: true })
    }
    for (const [who, { held, pending }] of this.workers.entries()) {
      if (held === undefined) {
        actions.push({ do: 'claim', who, lost: false }, { do: 'claim', who, lost: true })
        continue
      }
      actions.push({ do: 'crash', who })
      if (pending !== undefined) {
        actions.push({ do: 'settle', who, kind: pending.kind, lost: false })
        continue
      }
      actions.push({ do: 'extend', who }, { do: 'settle', who, kind: 'completed', lost: true })
      for (const kind of ['completed', 'failed', 'retry', 'released'] as const)
        actions.push({ do: 'settle', who, kind, lost: false })
    }
    if (this.scenario.operator && !this.cancelled) actions.push({ do: 'cancel' })
    if (this.scenario.operator && !this.invalidated) actions.push({ do: 'invalidate' })
    return actions
  }

  act(action: Action): void {
    switch (action.do) {
      case 'tick':
        this.now += UNIT_MS
        return
      case 'sweep': {
        const { requeued, failed } = this.store.sweep(100)
        for (const _ of requeued) this.#saw('lease lost: pending')
        for (const id of failed) this.#ended(id, 'lease lost: failed')
        return
      }
      case 'dispatch':
        this.#dispatch(action.who, action.lost)
        return
      case 'claim':
        this.#claim(action.who, action.lost)
        return
      case 'settle':
        this.#settle(action.who, action.kind, action.lost)
        return
      case 'extend': {
        const { held } = this.workers[action.who] as WorkerState
        if (held === undefined) return
        const [answer] = this.store.extend([held], LEASE_UNITS * UNIT_MS)
        this.#saw(`extend: ${answer}`)
        return
      }
      case 'crash':
        this.workers[action.who] = { held: undefined, pending: undefined }
        return
      case 'cancel': {
        this.cancelled = true
        const [standing] = this.store.read([keyText(0)])
        if (standing === undefined) return
        const [answer] = this.store.cancel([standing.id])
        const live = standing.status === 'pending' || standing.status === 'running'
        this.#saw(`cancel: ${answer}`)
        if (live) this.#ended(standing.id, `cancelled from ${standing.status}`)
        return
      }
      case 'invalidate':
        this.invalidated = true
        this.#saw(`invalidate: ${this.store.invalidate({ keys: [keyText(0)] })}`)
    }
  }

  #dispatch(who: number, lost: boolean): void {
    const dispatcher = this.dispatchers[who] as Dispatcher
    const resent = dispatcher.pending !== undefined
    const draft = dispatcher.pending ?? this.#draft(who, dispatcher.sent++)
    dispatcher.pending = lost ? draft : undefined
    const [verdict] = this.store.admit([draft], this.#hearing)
    if (verdict === undefined) throw new Error('admit answered nothing')
    this.#saw(`${resent ? 'resent' : 'dispatch'}: ${verdict.outcome}`)
    if (!lost && verdict.outcome !== 'rejected') this.acknowledged.add(verdict.entry.id)
  }

  #claim(who: number, lost: boolean): void {
    const { claimed } = this.store.claim(WANT, this.#hearing)
    const [first] = claimed
    if (first === undefined) return
    this.#saw('claimed')
    if (!lost) this.workers[who] = { held: { id: first.entry.id, token: first.token }, pending: undefined }
  }

  #settle(who: number, kind: AttemptOutcome['kind'], lost: boolean): void {
    const worker = this.workers[who] as WorkerState
    if (worker.held === undefined) return
    const { id } = worker.held
    const outcome = worker.pending ?? outcomeOf(worker.held, kind)
    const [before] = this.store.read([id])
    const [answer] = this.store.settle([outcome])
    const [after] = this.store.read([id])
    this.#saw(`${worker.pending === undefined ? 'settle' : 'settle again'} ${kind}: ${answer}`)
    const wasLive = before?.status === 'running' || before?.status === 'pending'
    const isEnded = after !== undefined && after.status !== 'running' && after.status !== 'pending'
    if (wasLive && isEnded) this.#ended(id, `${before.status} to ${after.status}`)
    if (answer === 'lost' && before?.status !== after?.status)
      throw new Error(`a lost outcome changed the run ${id}`)
    this.workers[who] = lost
      ? { held: worker.held, pending: outcome }
      : { held: undefined, pending: undefined }
  }

  #ended(id: string, how: string): void {
    this.ends.set(id, (this.ends.get(id) ?? 0) + 1)
    this.#saw(how)
  }

  #saw(what: string): void {
    this.seen.push(what)
  }

  #draft(who: number, index: number): Draft {
    const shape = this.scenario.drafts[who]?.[index] as DraftShape
    const { key, fresh = 0, stale = 0, failure = 0, refresh, onDuplicate, follows } = shape
    const policy = {
      ...LIVES,
      resultTtlMs: fresh * UNIT_MS,
      staleTtlMs: stale * UNIT_MS,
      failureTtlMs: failure * UNIT_MS,
    }
    const id = keyText(key) + runText(who * 16 + index)
    const after: Draft = {
      id: keyText(100 + who * 16 + index) + runText(99),
      name: 'after',
      queue: 'default',
      params: '{}',
      priority: 0,
      delayMs: 0,
      policy: LIVES,
    }
    return {
      id,
      name: 'job',
      queue: 'default',
      params: '{}',
      priority: 0,
      delayMs: 0,
      policy,
      watch: true,
      ...(refresh === undefined ? {} : { refresh }),
      ...(onDuplicate === undefined ? {} : { onDuplicate }),
      ...(follows ? { then: [{ on: 'both', draft: after }] } : {}),
    }
  }
}

function outcomeOf(held: { id: string; token: string }, kind: AttemptOutcome['kind']): AttemptOutcome {
  switch (kind) {
    case 'completed':
      return { ...held, kind, result: '"done"' }
    case 'retry':
      return { ...held, kind, error: '"again"', delayMs: UNIT_MS }
    case 'released':
      return { ...held, kind }
    default:
      return { ...held, kind, error: '"broken"' }
  }
}

const keyText = (key: number): string => key.toString(16).padStart(64, '0')
const runText = (run: number): string => run.toString(16).padStart(24, '0')
